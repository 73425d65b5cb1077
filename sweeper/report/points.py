"""What stands on the plot of ID accuracy against forgetting, sorted into groups."""

import math
from dataclasses import dataclass

from sweeper.front import has_objectives, on_front, recommended
from sweeper.records import SweepRecord, TrialRecord

FRONT, FEASIBLE, OUTSIDE = "#1b5e9e", "#6fa3d2", "#a9adb3"
BASELINE, PRE_TRAINED, KNEE = "#b4540a", "#1f2328", "#c2185b"

#: Marker of the i-th baseline, as plotly and as matplotlib name it; begun anew after the last.
BASELINE_MARKERS = (
    ("square", "s"),
    ("diamond", "D"),
    ("triangle-up", "^"),
    ("triangle-down", "v"),
    ("pentagon", "p"),
    ("hexagon", "h"),
    ("triangle-left", "<"),
    ("triangle-right", ">"),
)


@dataclass(frozen=True)
class Points:
    """The rows that have both objectives, each in one group.

    Attributes:
        front: by falling ID accuracy.
        feasible: inside the budget, dominated.
        outside: complete, but outside the budget.
        stopped: stopped early, at their last epoch.
        baselines: complete.
        pre_trained: ID accuracy of the untouched model in percent; its forgetting is 0.
        knee: the recommended trial, also in `front`.
    """

    front: list[TrialRecord]
    feasible: list[TrialRecord]
    outside: list[TrialRecord]
    stopped: list[TrialRecord]
    baselines: list[TrialRecord]
    pre_trained: float | None
    knee: TrialRecord | None


def points(record: SweepRecord) -> Points:
    """Sort the rows of a sweep into the groups of the plot; running and failed ones are not drawn."""
    front = on_front(record)
    keys = {trial.key for trial in front}
    rest = [trial for trial in record.trials if trial.key not in keys and has_objectives(trial)]
    complete = [trial for trial in rest if trial.state == "complete"]
    pre_trained = record.reference.get("id_accuracy", math.nan)
    return Points(
        front=front,
        feasible=[trial for trial in complete if trial.feasible],
        outside=[trial for trial in complete if not trial.feasible],
        stopped=[trial for trial in rest if trial.state == "pruned"],
        baselines=[row for row in record.baselines if row.state == "complete" and has_objectives(row)],
        pre_trained=pre_trained if math.isfinite(pre_trained) else None,
        knee=recommended(record),
    )


def place(row: TrialRecord) -> tuple[float, float]:
    """Where a row stands: (forgetting in percentage points, ID accuracy in percent)."""
    return row.metrics["forgetting"], row.metrics["id_accuracy"]
