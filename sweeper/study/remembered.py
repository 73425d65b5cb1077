"""What has been read of Optuna's trials, kept for those that do not change any more."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from optuna.trial import FrozenTrial, TrialState

from search_spaces import Space
from sweeper.study import reading
from sweeper.study.front import Front
from sweeper.study.records import TrialRecord

T = TypeVar("T")


class Remembered(Generic[T]):
    """Reads the trials of one study, each until it has ended.

    A sweep's record is made at every report of every trial. So what it costs must not grow with what lies
    behind.

    Args:
        read: what is made of a trial.

    Attributes:
        values: of the trials that have been read, by number.
    """

    def __init__(self, read: Callable[[FrozenTrial], T]) -> None:
        self._read = read
        self.values: list[T] = []
        self._open: list[int] = []

    def of(self, trials: Sequence[FrozenTrial]) -> tuple[T, ...]:
        """What all of the study's trials, which are given by number, read as now."""
        changed = [*self._open, *range(len(self.values), len(trials))]
        for number in changed:
            self.values[number : number + 1] = [self._read(trials[number])]
        self._open = [number for number in changed if not trials[number].state.is_finished()]
        return tuple(self.values)


class RememberedSweep:
    """What has been read of a sweep's studies.

    Attributes:
        front: of the trials that have been read.
    """

    def __init__(self, space: Space, budget: int) -> None:
        self._space, self._budget = space, budget
        runs = {run.label: run for run in space.baseline_runs}
        self.trials = Remembered(self._trial)
        self.rungs = Remembered(_rungs)
        self.baselines = Remembered(lambda trial: reading.baseline_record(trial, runs))
        self.confirmations = Remembered(self._confirmation)
        self.front = Front()

    def _confirmation(self, trial: FrozenTrial) -> TrialRecord:
        return reading.confirmation_record(trial, self.trials.values, self._space, self._budget)

    def _trial(self, trial: FrozenTrial) -> TrialRecord:
        """A trial's record. It is read once when it has ended, so the front hears of it once."""
        record = reading.trial_record(trial, self._space, self._budget)
        for model in record.models:
            if model.feasible:
                self.front.add(model)
        return record


def _rungs(trial: FrozenTrial) -> tuple[str, dict[int, reading.Objectives]] | None:
    """A trial's key and rungs; None if it has failed."""
    failed = trial.state == TrialState.FAIL
    return None if failed else (reading.trial_key(trial.number), reading.rungs_of(trial))
