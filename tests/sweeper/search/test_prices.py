"""The line of active blocks over the price, against weighted least squares by NumPy and closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest

from sweeper.search import prices
from sweeper.search.prices import Point, budget_interval


def points(slope: float, intercept: float, at: list[float]) -> list[Point]:
    """Points that lie on a line but for the rounding of the count."""
    counts = [round(math.exp(intercept + slope * x) - 1) for x in at]
    return [Point(x, count, {}, 1.0) for x, count in zip(at, counts, strict=True)]


def test_one_point_is_gone_from_along_the_usual_slope() -> None:
    (lower, upper) = budget_interval([Point(0.3, 20, {}, 1.0)], 2, 2, {})
    expected = [0.3 + (math.log(end) - math.log(21)) / prices._SLOPE for end in (3.5, 2.5)]
    assert (lower, upper) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_many_points_tell_their_own_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the prior it is NumPy's weighted fit."""
    monkeypatch.setattr(prices, "_SLOPE_DEVIATION", 1e6)
    seen = points(-1.1, 2.4, [-1.0, -0.5, 0.1, 0.4, 1.0, 1.3])
    target = (math.log(3.5) + math.log(2.5)) / 2
    weights = [math.sqrt(point.weight(target, {})) for point in seen]
    slope, intercept = np.polyfit([p.log_price for p in seen], [p.height for p in seen], 1, w=weights)
    expected = [(math.log(end) - intercept) / slope for end in (3.5, 2.5)]
    assert budget_interval(seen, 2, 2, {}) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("budget", range(1, 9))
def test_more_blocks_ask_for_a_lower_price(budget: int) -> None:
    seen = points(-1.5, 3.0, [-1.0, 0.0, 1.0])
    intervals = [budget_interval(seen, b, b, {}) for b in (budget, budget + 1)]
    assert all(lower < upper for lower, upper in intervals)
    assert intervals[1][0] < intervals[0][0] and intervals[1][1] < intervals[0][1]


def test_a_tolerance_widens_the_interval() -> None:
    seen = points(-1.5, 3.0, [-1.0, 0.0, 1.0])
    strict, wide = budget_interval(seen, 4, 4, {}), budget_interval(seen, 3, 5, {})
    assert wide[0] < strict[0] < strict[1] < wide[1]


def test_trials_that_rose_with_the_price_by_chance_do_not_turn_the_line() -> None:
    lower, upper = budget_interval([Point(0.0, 2, {}, 1.0), Point(1.0, 3, {}, 1.0)] * 50, 8, 8, {})
    assert lower < upper < 0


def test_what_a_trial_says_counts_by_how_like_and_how_far_it_is() -> None:
    like = Point(0.0, 3, {"rank": 4, "lr": 1e-3}, 1.0)
    others = [
        like,
        Point(0.0, 3, {"rank": 8, "lr": 1e-3}, 1.0),
        Point(0.0, 3, {"rank": 8, "lr": 1e-2}, 1.0),
    ]
    weights = [point.weight(1.1, {"rank": 4, "lr": 1e-3}) for point in others]
    assert all(a > b for a, b in pairwise(weights))
    by_epoch = [Point(0.0, 3, like.values, done).weight(1.1, like.values) for done in (1.0, 0.7, 0.3)]
    assert all(a > b for a, b in pairwise(by_epoch))
    by_count = [Point(0.0, count, like.values, 1.0).weight(1.1, like.values) for count in (2, 8, 32)]
    assert all(a > b for a, b in pairwise(by_count))
