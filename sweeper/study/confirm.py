"""Which trials of the front are trained again, and with which seeds."""

from sweeper.study.front import spread
from sweeper.study.records import SweepRecord

#: The seeds count up from here; the search has its own, 0 by default.
FIRST_SEED = 1001


def pending(record: SweepRecord) -> list[tuple[int, int]]:
    """Confirmations that the front calls for and that have not been begun: (number of the trial, seed).

    In order: the knee with all its seeds comes first. As long as trials are under way this is a forecast.
    Empty where no confirmation is asked for.
    """
    trials, seeds = (int(record.space.get(f"confirm.{name}", 0)) for name in ("trials", "seeds"))
    begun = {(run.group, run.parameters["training.seed"]) for run in record.confirmations}
    return [
        (int(trial.label), seed)
        for trial in spread(record, trials)
        for seed in range(FIRST_SEED, FIRST_SEED + seeds)
        if (trial.label, seed) not in begun
    ]
