"""What a person sees while a sweep runs."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper import screen
from sweeper.study.confirm import pending
from sweeper.study.front import on_front
from sweeper.study.records import SweepRecord, TrialRecord

_SILENT = 60.0  # seconds after which a sweep without a terminal says how far its trials are


class Progress:
    """A live table of the trials under way and of the front; plain lines where there is no terminal.

    Attributes:
        live: whether there is a terminal, which shows also what has only begun.
    """

    def __init__(self, console: Console, record: SweepRecord) -> None:
        self._console = console
        self._started = time.monotonic()
        self._ended = self._ended_before = _ended(record)
        self._record = record
        self._waits_for: str | None = None
        self._said = self._started
        self.live = console.is_terminal
        # What is shown is made when the screen is drawn, not at every report.
        self._table = Live(get_renderable=self._shown, console=console, transient=True, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self.live:
            self._table.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._table.stop()

    def update(self, record: SweepRecord, report: Mapping[str, Any] | None = None) -> None:
        """Shows the sweep as it is now; ``report`` is the one that has just come in."""
        self._record = record
        if report is None:
            return
        if report["state"] == "running":
            if not self.live and time.monotonic() - self._said > _SILENT:
                self.say(f"under way: {_epochs(record)} · {self._pace(record)}")
            return
        self._ended += 1
        if not self.live:
            self.say(f"{_line(record, record.run(report['key']))} · {self._pace(record)}")

    def say(self, sentence: str) -> None:
        """Tells a person something, above the table."""
        self._said = time.monotonic()
        screen.say(self._console, sentence)

    def wait(self, what: str | None) -> None:
        """Shows what the sweep waits for, until it is None again; says it once."""
        if what and what != self._waits_for:
            self.say(what)
        self._waits_for = what

    def _shown(self) -> Group:
        record = self._record
        return Group(under_way(record), _front(record), Text(self._pace(record), style="dim"))

    def _pace(self, record: SweepRecord) -> str:
        """Trials done, rate and time left."""
        total = _total(record)
        text = f"{self._ended}/{total} done, {len(record.front)} on the front"
        if self._waits_for:
            return f"{text}, {self._waits_for}"
        ended = self._ended - self._ended_before
        if ended == 0:
            return text
        per_trial = (time.monotonic() - self._started) / ended
        return f"{text}, {60 / per_trial:.1f} a minute, {duration(per_trial * (total - self._ended))} left"


def _epochs(record: SweepRecord) -> str:
    """How far each run under way is."""
    running = [run for run in record.runs if run.state == "running"]
    return ", ".join(f"{run.key} epoch {run.metrics.get('epoch', 0):.0f}" for run in running)


def is_over(record: SweepRecord) -> bool:
    """Whether all that is asked for has ended."""
    return _ended(record) >= _total(record)


def _ended(record: SweepRecord) -> int:
    return sum(run.state in ("complete", "pruned", "failed") for run in record.runs)


def _total(record: SweepRecord) -> int:
    """Runs in all; as long as trials are under way, confirmations are those of the front so far."""
    confirmations = len(record.confirmations) + len(pending(record))
    return record.asked + len(record.baselines) + confirmations


def duration(seconds: float) -> str:
    """A length of time as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _values(trial: TrialRecord) -> str:
    return " ".join(f"{path.split('.')[-1]}={_value(value)}" for path, value in trial.parameters.items())


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _figures(trial: TrialRecord, blocks: int) -> tuple[str, str, str]:
    if not trial.metrics:
        return "", "", ""
    return (
        f"{trial.metrics['id_accuracy']:.1f}",
        f"{trial.metrics['forgetting']:+.1f}",
        f"{trial.metrics['active_blocks']:.0f}/{trial.candidates(blocks)}",
    )


def _line(record: SweepRecord, trial: TrialRecord) -> str:
    if trial.state in ("failed", "pruned"):
        return f"{trial.key} {trial.state}: {trial.reason}"
    accuracy, forgetting, active = _figures(trial, len(record.blocks))
    name, mark = trial.key, ""
    if trial.role == "trial":
        name = " ".join(filter(None, (trial.key, _values(trial))))
    # The keys of the others name their values, and baselines are not held to the budget.
    if trial.role != "baseline":
        mark = _standing(record, trial)
    return f"{name} · ID {accuracy} % · forgetting {forgetting} · active {active}{mark}"


def _standing(record: SweepRecord, trial: TrialRecord) -> str:
    """Where a trial stands: on the front, inside the budget or outside of it."""
    if trial.feasible:
        return " · front" if any(model.key in record.front for model in trial.models) else ""
    return " · over budget" if trial.metrics["active_blocks"] > record.budget else " · under budget"


def _table(title: str, *extra: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    table.add_column("trial")
    table.add_column("values")
    for column in (*extra, "ID %", "forgetting", "active"):
        table.add_column(column, justify="right")
    return table


def under_way(record: SweepRecord) -> Table:
    """What is being trained."""
    table = _table("Under way", "epoch")
    for trial in record.runs:
        if trial.state == "running":
            epoch = f"{trial.metrics.get('epoch', 0):.0f}"
            table.add_row(trial.key, _values(trial), epoch, *_figures(trial, len(record.blocks)))
    return table


def _front(record: SweepRecord) -> Table:
    table = _table("Front so far")
    for model in on_front(record):
        table.add_row(model.key, _values(model), *_figures(model, len(record.blocks)))
    return table


def sweep_line(record: SweepRecord) -> str:
    """One line on a sweep: how far it is and what it has found."""
    failed, pruned = (sum(run.state == state for run in record.runs) for state in ("failed", "pruned"))
    inside = sum(trial.feasible for trial in record.trials)
    return (
        f"{record.name}: {_ended(record)}/{_total(record)} done, {failed} failed, "
        + (f"{record.taken} taken over, " if record.taken else "")
        + (f"{pruned} pruned, " if pruned else "")
        + f"{inside} inside the budget of {record.budget}/{len(record.blocks)} blocks, "
        f"{len(record.front)} on the front"
    )
