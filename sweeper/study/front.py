"""The front of a sweep: who is on it, which trial stands at its knee, and how much room it covers.

Two objectives, as in `SweepRecord`: maximise the ID accuracy, minimise the forgetting. Retained accuracy is
the pre-trained model's less the forgetting, so it orders trials as the forgetting does, the other way up.
"""

import math
from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from sweeper.study.records import SweepRecord, TrialRecord

#: Reference point of the hypervolume in (ID accuracy, retained accuracy), as fractions: a model that knows
#: neither task.
REFERENCE_POINT = (0.0, 0.0)


def feasible(record: SweepRecord) -> list[TrialRecord]:
    """The models of the trials, by number, that are complete, inside the budget and have both objectives."""
    return [model for model in record.models if model.feasible and has_objectives(model)]


def has_objectives(trial: TrialRecord) -> bool:
    """Whether ID accuracy and forgetting are known and finite."""
    return all(math.isfinite(trial.metrics.get(name, math.nan)) for name in ("id_accuracy", "forgetting"))


def on_front(record: SweepRecord) -> list[TrialRecord]:
    """The models that `record.front` names, in its order."""
    return [record.run(key) for key in record.front]


def recommended(record: SweepRecord) -> TrialRecord | None:
    """The knee of the front, or None while the front is empty."""
    return knee(on_front(record))


def non_dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points no other point dominates, both columns maximised.

    A point dominates another one if it is at least as good in both columns and better in one; so of equal
    points each is kept or none.

    Args:
        points: (N, 2).

    Returns:
        (N,) mask.
    """
    if len(points) == 0:
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, maximise=True, keep_weakly=True), dtype=np.bool_)


def dominating(rows: Sequence[TrialRecord], trial: TrialRecord) -> list[TrialRecord]:
    """The complete rows that are at least as good as the trial in both objectives and better in one."""
    worth = _objectives(trial)
    able = (row for row in rows if row.state == "complete" and has_objectives(row))
    return [row for row in able if _dominates(_objectives(row), worth)]


class Front:
    """The trials that no other dominates, of those that have been added so far.

    A trial is held against the front alone, for what has left the front is dominated by what is on it. So
    adding one costs as many comparisons as the front is long, however many trials there are.
    """

    def __init__(self) -> None:
        self._trials: list[TrialRecord] = []

    @property
    def trials(self) -> list[TrialRecord]:
        """By falling ID accuracy; of equal points, each, the earlier first."""
        return sorted(self._trials, key=lambda trial: (-trial.metrics["id_accuracy"], int(trial.group)))

    def add(self, trial: TrialRecord) -> None:
        """A trial more, with both objectives."""
        worth = _objectives(trial)
        if any(_dominates(_objectives(other), worth) for other in self._trials):
            return
        self._trials = [other for other in self._trials if not _dominates(worth, _objectives(other))]
        self._trials.append(trial)


def knee(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The non-dominated trial farthest from the chord between the front's two extremes.

    Over the front, let `a` be the ID accuracy and `f` the forgetting, each scaled to 0..1. The extremes are
    then (a, 1 - f) = (1, 0) and (0, 1), the chord is a + (1 - f) = 1, and the distance towards the ideal
    corner (1, 1) is

        d = (a - f) / sqrt(2)

    (the "maximum distance to the chord" knee of Das, *On characterizing the knee of the Pareto curve*, 1999).
    Where the front bends the other way every inner point has d < 0 and an extreme is chosen. Ties go to the
    higher ID accuracy, then to the earlier trial; one point is its own knee.
    """
    trials = [trial for trial in trials if has_objectives(trial)]
    points = np.array([_objectives(trial) for trial in trials])
    if not trials:
        return None
    kept = np.flatnonzero(non_dominated(points))
    low, high = points[kept].min(axis=0), points[kept].max(axis=0)
    scaled = (points[kept] - low) / np.where(high > low, high - low, 1.0)
    distance = np.round((scaled.sum(axis=1) - 1.0) / math.sqrt(2.0), 12)
    order = np.lexsort((kept, -points[kept, 0], -distance))
    return trials[int(kept[order[0]])]


def hypervolume(record: SweepRecord, trials: Sequence[TrialRecord]) -> float:
    """Share of the unit square of (ID accuracy, retained accuracy) that the trials dominate, 0 to 1.

    The reference point is `REFERENCE_POINT`; 1 would be a model without an error on either side. Computed by
    moocore. Trials without objectives count for nothing.
    """
    points = [_knowledge(record, trial) for trial in trials if has_objectives(trial)]
    return _area(np.array(points)) if points else 0.0


def spread(record: SweepRecord, count: int) -> list[TrialRecord]:
    """Models on the front of up to ``count`` trials: the knee, then each time what adds most hypervolume.

    A trial comes with all its models that are on the front, as a path has several. Ties go to the higher ID
    accuracy, then to the earlier trial.
    """
    left, covered = on_front(record), list[TrialRecord]()
    chosen: list[TrialRecord] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda m: hypervolume(record, [*covered, m])) if chosen else knee(left)
        assert best is not None
        chosen.append(best)
        covered += [model for model in left if model.group == best.group]
        left = [model for model in left if model.group != best.group]
    return chosen


def worth(metrics: Mapping[str, float]) -> float:
    """What a model covers alone of the square of ID accuracy and retained accuracy, in percent squared."""
    return metrics["id_accuracy"] * metrics.get("retained_accuracy", 100.0 - metrics["forgetting"])


def hypervolume_history(record: SweepRecord) -> list[tuple[int, float]]:
    """(number of the trial, hypervolume of the feasible models so far), one pair a trial that has any."""
    history: dict[int, float] = {}
    front = np.zeros((0, 2))
    area = 0.0
    for trial in feasible(record):
        point = _knowledge(record, trial)
        if not (front >= point).all(axis=1).any():
            front = np.vstack([front[~(front <= point).all(axis=1)], point])
            area = _area(front)
        history[int(trial.group)] = area
    return list(history.items())


def unmoved(record: SweepRecord) -> int:
    """How many trials have ended since the one that made the front's hypervolume larger last."""
    last, area = -1, 0.0
    for place, reached in hypervolume_history(record):
        last, area = (place, reached) if reached > area else (last, area)
    ended = ("complete", "pruned", "failed")
    return sum(t.state in ended and t.taken_over is None for t in record.trials[last + 1 :])


def _objectives(trial: TrialRecord) -> tuple[float, float]:
    """(ID accuracy in percent, forgetting in percentage points with its sign turned), both to maximise."""
    return trial.metrics["id_accuracy"], -trial.metrics["forgetting"]


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether a point, both of its objectives to be maximised, is as good in both and better in one."""
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def _knowledge(record: SweepRecord, trial: TrialRecord) -> tuple[float, float]:
    """(ID accuracy, retained accuracy) as fractions."""
    retained = trial.metrics.get("retained_accuracy", math.nan)
    if not math.isfinite(retained):
        retained = record.reference.get("retained_accuracy", 0.0) - trial.metrics["forgetting"]
    return trial.metrics["id_accuracy"] / 100.0, retained / 100.0


def _area(points: NDArray[np.float64]) -> float:
    return float(moocore.hypervolume(points, ref=REFERENCE_POINT, maximise=True))
