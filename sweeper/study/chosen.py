"""Which model of a sweep a person means."""

from collections.abc import Sequence

from sweeper.errors import UserError
from sweeper.study.front import recommended, worth
from sweeper.study.records import SweepRecord, TrialRecord


def choose(record: SweepRecord, trial: str | None, blocks: int | None = None) -> TrialRecord:
    """The model that a person means; without a word the recommended one.

    Args:
        record: of the sweep.
        trial: a trial's number, a baseline's label, or the label or key of a model.
        blocks: the trained point of a path; None for its best one inside the budget.

    Raises:
        UserError: there is none, or it is not complete.
    """
    run = _named(record, trial)
    if blocks is not None:
        return _at(record.run(run.run_key) if run.point else run, blocks)
    if run.state != "complete":
        raise UserError(f"--trial {trial}: it is {run.state}; complete are {_there(_runs(record))}")
    inside = [model for model in run.models if model.feasible and not model.scaling]
    return max(inside, key=lambda model: worth(model.metrics), default=run.models[-1]) if run.points else run


def _named(record: SweepRecord, trial: str | None) -> TrialRecord:
    """A run or a model of one, by its label or its key; without a word the recommended model.

    The label of a baseline that ran over several values stands for the best of its runs.
    """
    if trial is None:
        best = recommended(record)
        if best is None:
            there = _there(_runs(record))
            raise UserError(f"no trial met the budget, so none is recommended; give --trial: {there}")
        return best
    runs = _runs(record)
    every = [*runs, *(model for run in runs for model in run.models)]
    named = next((run for run in every if trial in (run.label, run.key)), None)
    if named is None:
        group = [run for run in record.baselines if run.group == trial and run.state == "complete"]
        named = max(group, key=lambda run: worth(run.metrics), default=None)
    if named is None:
        raise UserError(f"--trial {trial}: there is none; there are {_there(_runs(record))}")
    return named


def _at(run: TrialRecord, blocks: int) -> TrialRecord:
    """The trained point of a path with so many open blocks."""
    path = {len(model.active): model for model in run.points if not model.scaling}
    if run.state != "complete" or blocks not in path:
        there = ", ".join(map(str, path))
        offer = f"it has points at {there}" if there else "it is no path, and has one number of open blocks"
        raise UserError(f"--blocks {blocks}: trial {run.label} has no such point; {offer}")
    return path[blocks]


def _runs(record: SweepRecord) -> list[TrialRecord]:
    return [*record.trials, *record.baselines]


def _there(runs: Sequence[TrialRecord]) -> str:
    return ", ".join(run.label for run in runs if run.state == "complete") or "none yet"
