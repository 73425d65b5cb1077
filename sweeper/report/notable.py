"""Which trials a page tells of one by one, where there are more than a person or a browser can take."""

import math

from sweeper.study.records import SweepRecord, TrialRecord

#: Trials in the table, and points of which the plot tells all. The files beside the page have every trial.
MOST = 1000


def notable(record: SweepRecord) -> list[TrialRecord]:
    """Up to `MOST` trials, by number.

    The front comes before the others inside the budget, and those before the rest; within each, more ID
    accuracy before less.
    """
    if len(record.trials) <= MOST:
        return list(record.trials)
    front = set(record.front)

    def place(trial: TrialRecord) -> tuple[bool, bool, float]:
        accuracy = trial.metrics.get("id_accuracy", math.nan)
        return trial.key not in front, not trial.feasible, -accuracy if math.isfinite(accuracy) else math.inf

    chosen = {trial.key for trial in sorted(record.trials, key=place)[:MOST]}
    return [trial for trial in record.trials if trial.key in chosen]
