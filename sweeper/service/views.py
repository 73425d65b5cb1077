"""What is shown of a sweep, made of its record and of Ray's jobs."""

import io
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from sweeper.driver.progress import sweep_line, under_way
from sweeper.report import front_table, words
from sweeper.report.plots import front_plot
from sweeper.report.points import points, spots
from sweeper.service.jobs import Job
from sweeper.service.models import Counts, Front, Run, State, Summary
from sweeper.service.models import Sweep as SweepView
from sweeper.service.store import Snapshot
from sweeper.study.confirm import pending
from sweeper.study.front import on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord

_FAILED_SHOWN = 20
_WIDEST = 500  # characters of a table
#: Exit statuses of a driver that has ended by itself without a result: failed, and bad input.
_ITS_OWN_FAULT = (1, 2)
#: Of one that has come to its end: done, and no trial met the budget.
_AT_ITS_END = (0, 3)
_PATIENCE = 60.0  # seconds in which a driver starts where one may
_REASON = 600  # characters of an explanation
_FOR_ONE = "waits until the driver that runs has ended"


def state(
    counts: Counts | None, jobs: Sequence[Job], elsewhere: str | None = None
) -> tuple[State, str | None]:
    """How far a sweep is, and why where that needs a word.

    What the study says comes before how the last driver ended: a driver that found no trial inside the budget
    ends with a status other than 0, and has finished.

    Args:
        counts: of its study; None where there is none to be read.
        jobs: its drivers, oldest first.
        elsewhere: why there is no study, where a driver has begun one.
    """
    job = jobs[-1] if jobs else None
    if job and job.status == "PENDING":
        return State.QUEUED, "waits until a driver may start"
    if job and job.status == "RUNNING":
        return State.RUNNING, elsewhere
    if counts and counts.done >= counts.total:
        return State.FINISHED, None
    if job and counts is None and job.exit_code in _AT_ITS_END:
        return State.FINISHED, elsewhere or "its driver has ended, and no study of it is found here"
    if job and job.status == "STOPPED":
        return State.STOPPED, "stopped; it can be resumed"
    if job and job.status == "FAILED" and job.exit_code in _ITS_OWN_FAULT:
        return State.FAILED, _last_line(job.message)
    if job:
        return State.INTERRUPTED, f"its driver {_how(job)}; it can be resumed"
    return State.INTERRUPTED, elsewhere or "no driver of this cluster runs it; it can be resumed"


def waiting(job: Job, drivers: int, now: float) -> str:
    """What a job waits for, where so many drivers run."""
    if drivers:
        return f"waits until one of the {drivers} drivers that run has ended" if drivers > 1 else _FOR_ONE
    if now - job.since < _PATIENCE:
        return "waits until its driver has started"
    return "waits for a node that has room for a driver: start Ray's head with --resources '{\"driver\": 4}'"


def summary(
    name: str, snapshot: Snapshot | None, jobs: Sequence[Job], elsewhere: str | None = None
) -> Summary:
    """A line of the list. Without a snapshot its driver has not begun, or has its study elsewhere."""
    counts = snapshot.once(count) if snapshot else None
    found, message = state(counts, jobs, elsewhere)
    return Summary(
        name=name,
        state=found,
        line=snapshot.once(sweep_line) if snapshot else f"{name}: not begun",
        message=message,
        job=jobs[-1].id if jobs else None,
        counts=counts,
    )


def sweep(short: Summary, snapshot: Snapshot | None, jobs: Sequence[Job], mlflow: str | None) -> SweepView:
    """All of a sweep but its points."""
    view = SweepView(**dict(short), status=short.line + "\n", mlflow=mlflow, jobs=[job.id for job in jobs])
    if snapshot is None:
        return view
    record = snapshot.record
    view.budget = words.budget(record)
    view.running, view.front, view.failed = snapshot.once(_runs)
    view.status = snapshot.once(status)
    return view


def count(record: SweepRecord) -> Counts:
    """How many runs there are of each kind."""
    states = Counter(run.state for run in record.runs)
    confirmations = len(record.confirmations) + len(pending(record))
    return Counts(
        done=states["complete"] + states["pruned"] + states["failed"],
        total=record.asked + len(record.baselines) + confirmations,
        running=states["running"],
        failed=states["failed"],
        pruned=states["pruned"],
        inside=sum(trial.feasible for trial in record.trials),
        front=len(record.front),
    )


def status(record: SweepRecord) -> str:
    """What ``python -m sweeper status`` prints."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDEST, color_system=None)
    console.print(sweep_line(record), markup=False, highlight=False)
    if any(run.state == "running" for run in record.runs):
        console.print(under_way(record))
    # A title is centred over its table, so the table is printed as wide as it is.
    table = front_table(record)
    console.print(table, width=console.measure(table).maximum)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def front(record: SweepRecord) -> Front:
    """The live plot, which is the report's."""
    measured = spots(points(record))
    return Front(name=record.name, figure=front_plot(record).to_plotly_json() if measured else None)


def _runs(record: SweepRecord) -> tuple[list[Run], list[Run], list[Run]]:
    """What is under way, the front, and the last that failed."""
    knee = recommended(record)
    failed = [run for run in record.runs if run.state == "failed"][-_FAILED_SHOWN:]
    return (
        [_run(record, run) for run in record.runs if run.state == "running"],
        [_run(record, trial, knee=trial is knee) for trial in on_front(record)],
        [_run(record, run) for run in reversed(failed)],
    )


def _run(record: SweepRecord, run: TrialRecord, knee: bool = False) -> Run:
    epoch = run.metrics.get("epoch")
    return Run(
        key=run.key,
        label=run.label,
        role=run.role,
        epoch=None if epoch is None else int(epoch),
        parameters={name: words.setting(value, record) for name, value in run.parameters.items()},
        id_accuracy=words.figure(run.metrics.get("id_accuracy")),
        forgetting=words.figure(run.metrics.get("forgetting")),
        active=words.active(record, run),
        test_accuracy=words.figure(run.metrics.get("test/id_accuracy")),
        knee=knee,
        reason=run.reason,
    )


def _last_line(message: str) -> str | None:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else None


def _how(job: Job) -> str:
    if job.exit_code is None:
        # It may never have begun: what Ray says of it is all that is known.
        return f"has no exit status; Ray says: {' '.join(job.message.split())[:_REASON] or 'nothing'}"
    ended = f"by signal {-job.exit_code}" if job.exit_code < 0 else f"with status {job.exit_code}"
    return f"ended {ended}"
