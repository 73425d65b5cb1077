import math
from dataclasses import replace

import numpy as np
import pytest

from sweeper.study.front import (
    Front,
    dominating,
    feasible,
    hypervolume,
    hypervolume_history,
    knee,
    non_dominated,
    on_front,
    recommended,
)
from sweeper.study.records import SweepRecord, TrialRecord


def trial(number: int, accuracy: float, forgetting: float, feasible: bool = True) -> TrialRecord:
    metrics = {"id_accuracy": accuracy, "forgetting": forgetting, "retained_accuracy": 90.0 - forgetting}
    return TrialRecord(
        key=f"trial-{number:04d}",
        label=str(number),
        group=str(number),
        method="selective_lora",
        role="trial",
        state="complete",
        parameters={},
        metrics=metrics,
        active=(),
        feasible=feasible,
        reason=None,
    )


def sweep(*trials: TrialRecord, front: tuple[str, ...] = ()) -> SweepRecord:
    reference = {"id_accuracy": 40.0, "retained_accuracy": 90.0}
    return SweepRecord("s", {}, ("image.0.qkv",), 1, "at_most", len(trials), reference, trials, (), front)


def naive_non_dominated(points: np.ndarray) -> np.ndarray:
    def dominates(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a >= b).all() and (a > b).any())

    return np.array([not any(dominates(other, point) for other in points) for point in points], dtype=bool)


def naive_area(points: np.ndarray) -> float:
    """Area under the staircase, strip by strip."""
    edges = np.unique(np.concatenate([[0.0], points[:, 0]]))
    heights = [points[points[:, 0] >= right, 1].max() for right in edges[1:]]
    return float(np.dot(np.diff(edges), heights))


@pytest.mark.parametrize("seed", range(50))
def test_non_dominated_agrees_with_its_naive_twin_on_data_with_duplicates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(-4, 5, size=(rng.integers(1, 60), 2)).astype(float)
    points = np.vstack([points, points[rng.integers(len(points), size=10)]])
    assert (non_dominated(points) == naive_non_dominated(points)).all()


def test_equal_points_are_all_kept_and_weakly_dominated_ones_are_not() -> None:
    points = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    assert non_dominated(points).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("seed", range(20))
def test_a_front_kept_trial_by_trial_is_the_front_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 12, (60, 2)).astype(float)  # so few values that many are equal
    trials = [trial(number, float(a), float(f)) for number, (a, f) in enumerate(points)]
    front = Front()
    for so_far, one in enumerate(trials, start=1):
        front.add(one)
        kept = non_dominated(points[:so_far] * (1, -1))
        expected = [trials[number] for number in np.flatnonzero(kept)]
        expected.sort(key=lambda one: -one.metrics["id_accuracy"])  # stable: the earlier first
        assert front.trials == expected


def test_no_points_have_no_front() -> None:
    assert non_dominated(np.zeros((0, 2))).shape == (0,)


def test_feasible_leaves_out_what_is_outside_the_budget_or_has_no_objectives() -> None:
    record = sweep(trial(0, 80, 1), trial(1, 90, 2, feasible=False), trial(2, 70, math.nan))
    assert [t.label for t in feasible(record)] == ["0"]


def test_knee_is_farthest_from_the_chord() -> None:
    trials = [trial(0, 50, 0), trial(1, 85, 2), trial(2, 90, 6), trial(3, 95, 20), trial(4, 60, 15)]
    chosen = knee(trials)
    assert chosen is not None and chosen.label == "1"


def test_knee_distance_is_that_of_plain_geometry() -> None:
    rng = np.random.default_rng(3)
    trials = [trial(i, float(a), float(f)) for i, (a, f) in enumerate(rng.uniform(0, 50, (80, 2)))]
    points = np.array([(t.metrics["id_accuracy"], -t.metrics["forgetting"]) for t in trials])
    front = points[naive_non_dominated(points)]
    scaled = (front - front.min(axis=0)) / np.ptp(front, axis=0)
    start, end = scaled[scaled[:, 0].argmin()], scaled[scaled[:, 0].argmax()]
    (dx, dy), to_points = end - start, scaled - start
    towards_ideal = (to_points[:, 1] * dx - to_points[:, 0] * dy) / math.hypot(dx, dy)
    chosen = knee(trials)
    assert chosen is not None
    assert chosen.metrics["id_accuracy"] == front[towards_ideal.argmax(), 0]


def test_knee_does_not_depend_on_the_order_of_trials() -> None:
    trials = [trial(0, 50, 0), trial(1, 85, 2), trial(2, 90, 6), trial(3, 95, 20)]
    assert knee(trials) == knee(trials[::-1])


def test_knee_of_few_points() -> None:
    assert knee([]) is None
    assert knee([trial(0, 50, 1)]) == trial(0, 50, 1)
    two = knee([trial(0, 50, 0), trial(1, 80, 5)])
    assert two is not None and two.label == "1"
    twins = knee([trial(0, 50, 1), trial(1, 50, 1)])
    assert twins is not None and twins.label == "0"


def test_knee_ties_and_inward_fronts_go_to_the_higher_accuracy() -> None:
    collinear = [trial(i, 10 + 7.1 * i, 0.3 * i) for i in range(6)]
    inward = [trial(0, 10, 0), trial(1, 20, 9), trial(2, 90, 10)]
    for trials in (collinear, inward):
        chosen = knee(trials)
        assert chosen is not None and chosen.label == trials[-1].label


def test_dominating_needs_one_objective_to_be_better() -> None:
    own = trial(0, 80, 2)
    rows = [trial(1, 80, 2), trial(2, 80, 1), trial(3, 81, 2), trial(4, 90, 3), trial(5, 70, 0)]
    running = replace(trial(6, 99, 0), state="running")
    assert [row.label for row in dominating([*rows, running], own)] == ["2", "3"]


@pytest.mark.parametrize("seed", range(10))
def test_hypervolume_agrees_with_its_naive_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials = [trial(i, float(a), float(f)) for i, (a, f) in enumerate(rng.uniform(0, 90, (30, 2)))]
    points = np.array([(t.metrics["id_accuracy"], t.metrics["retained_accuracy"]) for t in trials]) / 100
    assert hypervolume(sweep(), trials) == pytest.approx(naive_area(points), abs=1e-12)


def test_hypervolume_of_one_trial_and_of_none() -> None:
    assert hypervolume(sweep(), [trial(0, 80, 10)]) == pytest.approx(0.8 * 0.8)
    assert hypervolume(sweep(), []) == 0.0


def test_retained_accuracy_follows_from_the_reference_where_it_is_not_reported() -> None:
    bare = replace(trial(0, 80, 10), metrics={"id_accuracy": 80.0, "forgetting": 10.0})
    assert hypervolume(sweep(), [bare]) == pytest.approx(0.8 * 0.8)


def test_history_is_the_hypervolume_of_every_prefix() -> None:
    rng = np.random.default_rng(1)
    draws = zip(rng.integers(0, 20, (60, 2)).astype(float), rng.random(60) < 0.7, strict=True)
    trials = [trial(i, 50 + a, f, bool(able)) for i, ((a, f), able) in enumerate(draws)]
    record = sweep(*trials)
    history = hypervolume_history(record)
    able = feasible(record)
    assert [number for number, _ in history] == [int(t.label) for t in able]
    for length, (_, area) in enumerate(history, start=1):
        assert area == pytest.approx(hypervolume(record, able[:length]), abs=1e-12)


def test_front_and_recommendation_follow_the_record() -> None:
    record = sweep(trial(0, 50, 0), trial(1, 85, 2), trial(2, 95, 20))
    assert on_front(record) == [] and recommended(record) is None
    record = replace(record, front=("trial-0002", "trial-0001", "trial-0000"))
    assert [t.label for t in on_front(record)] == ["2", "1", "0"]
    assert recommended(record) == trial(1, 85, 2)
