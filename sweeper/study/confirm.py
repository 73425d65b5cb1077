"""Which trials of the front are trained again, and with which seeds."""

from collections.abc import Iterator
from itertools import count, islice

from sweeper.study.front import spread
from sweeper.study.records import SweepRecord, TrialRecord

#: The seeds count up from here.
FIRST_SEED = 1001


def pending(record: SweepRecord) -> list[tuple[int, int]]:
    """Confirmations that the front calls for and that have not been begun: (number of the trial, seed).

    In order: the knee with all its seeds comes first. As long as trials are under way this is a forecast.
    Empty where no confirmation is asked for.
    """
    trials, seeds = (int(record.space.get(f"confirm.{name}", 0)) for name in ("trials", "seeds"))
    begun = {(run.group, run.parameters["training.seed"]) for run in record.confirmations}
    return [
        (int(trial.group), seed)
        for trial in spread(record, trials)
        for seed in islice(_other_seeds(record, trial), seeds)
        if (trial.group, seed) not in begun
    ]


def _other_seeds(record: SweepRecord, trial: TrialRecord) -> Iterator[int]:
    """Seeds that a trial was not trained with."""
    trained = trial.parameters.get("training.seed", record.space.get("training.seed"))
    return (seed for seed in count(FIRST_SEED) if seed != trained)
