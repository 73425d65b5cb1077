"""Which trials a page tells of one by one, where there are more than a person or a browser can take."""

import math

from sweeper.study.records import SweepRecord, TrialRecord

#: Trials in the table, and points of which the plot tells all. The files beside the page have every trial.
MOST = 1000


def notable(record: SweepRecord) -> list[TrialRecord]:
    """Up to `MOST` models, by number.

    The front comes before the others inside the budget, and those before the rest; within each, more ID
    accuracy before less.
    """
    if len(record.models) <= MOST:
        return list(record.models)
    front = set(record.front)

    def place(trial: TrialRecord) -> tuple[bool, bool, float]:
        accuracy = trial.metrics.get("id_accuracy", math.nan)
        return trial.key not in front, not trial.feasible, -accuracy if math.isfinite(accuracy) else math.inf

    chosen = {model.key for model in sorted(record.models, key=place)[:MOST]}
    return [model for model in record.models if model.key in chosen]
