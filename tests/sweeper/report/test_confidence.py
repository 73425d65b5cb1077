import math
import random
import warnings
from itertools import combinations

import pytest
from scipy import stats

from sweeper.report.confidence import comparisons, holm, interval, welch


def drawn(seed: int, n: int, mean: float = 90.0, spread: float = 1.0) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, spread) for _ in range(n)]


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_interval_is_that_of_scipy(n: int) -> None:
    values = drawn(n, n)
    found = interval(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found is not None and found.count == n and found.half_width is not None
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_the_interval_of_two_values_is_that_of_the_tables() -> None:
    found = interval([1.0, 3.0])
    assert found is not None and found.mean == 2.0
    assert found.half_width == pytest.approx(12.7062, abs=1e-4)  # t(0.975, 1) * sqrt(2) / sqrt(2)


def test_few_or_equal_values_give_no_nan() -> None:
    assert interval([]) is None
    one, same = interval([92.5]), interval([0.1] * 5)
    assert one is not None and (one.mean, one.half_width, one.count) == (92.5, None, 1)
    assert same is not None and (same.mean, same.half_width) == (0.1, 0.0)


@pytest.mark.parametrize(("n", "m", "shift"), [(2, 2, 0.5), (5, 5, 0.0), (5, 3, 2.0), (4, 9, 30.0)])
def test_welch_is_that_of_scipy(n: int, m: int, shift: float) -> None:
    one, other = drawn(n, n), drawn(100 + m, m, 90.0 + shift, 3.0)
    expected = stats.ttest_ind(one, other, equal_var=False).pvalue
    assert welch(one, other) == pytest.approx(expected, rel=1e-9)
    assert welch(other, one) == pytest.approx(expected, rel=1e-9)


def test_welch_of_a_constant_sample_is_the_test_of_one_sample_and_warns_of_nothing() -> None:
    other = drawn(3, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = welch([89.5] * 4, other)
    assert found == pytest.approx(stats.ttest_1samp(other, 89.5).pvalue)


def test_welch_of_two_constant_samples_is_its_limit() -> None:
    assert welch([0.1] * 5, [0.1] * 3) == 1.0
    assert welch([0.1] * 5, [0.4] * 3) == 0.0


def closed(p: list[float]) -> list[float]:
    """Holm as the closure of Bonferroni (Marcus, Peritz and Gabriel 1976): every set of tests."""
    sets = [s for size in range(1, len(p) + 1) for s in combinations(range(len(p)), size)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(len(p))]


@pytest.mark.parametrize("seed", range(10))
def test_holm_is_the_closure_of_bonferroni(seed: int) -> None:
    rng = random.Random(seed)
    p = [round(rng.random() ** 3, 2) for _ in range(rng.randint(1, 8))]
    assert holm(p) == pytest.approx(closed(p))


def test_holm_of_a_known_example_and_of_nothing() -> None:
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([]) == []


def sample(accuracy: list[float], forgetting: list[float]) -> dict[str, list[float]]:
    return {"id_accuracy": accuracy, "forgetting": forgetting}


def test_pairs_are_apart_where_one_objective_differs_after_the_correction() -> None:
    near, also, far = [90.0, 91.0, 92.0], [90.5, 91.5, 92.0], [70.0, 71.0, 72.0]
    points = {"7": sample(near, [1.0] * 3), "12": sample(also, [1.0] * 3), "3": sample(far, [1.0] * 3)}
    found = {(c.one, c.other): c for c in comparisons(points)}
    assert [pair for pair, c in found.items() if c.apart] == [("7", "3"), ("12", "3")]
    raw = [stats.ttest_ind(a, b, equal_var=False).pvalue for a, b in ((near, also), (near, far), (also, far))]
    expected = closed([*raw, 1.0, 1.0, 1.0])[:3]
    assert [c.p["id_accuracy"] for c in found.values()] == pytest.approx(expected)
    assert {c.p["forgetting"] for c in found.values()} == {1.0}


def test_a_difference_that_a_single_test_would_see_is_not_called_after_the_correction() -> None:
    one, other = [90.0, 90.4, 90.9, 91.1, 91.6], [91.2, 91.5, 91.9, 92.3, 92.4]
    assert 0.01 < welch(one, other) < 0.03
    points = {str(i): sample(values, [0.0] * 5) for i, values in enumerate((one, other, one, other))}
    assert not any(c.apart for c in comparisons(points))


def test_a_single_seed_is_not_compared_and_does_not_count_in_the_correction() -> None:
    far = {"7": sample(drawn(1, 5), drawn(2, 5, 1.0)), "12": sample(drawn(3, 5, 80.0), drawn(4, 5, 1.0))}
    found = comparisons({**far, "3": sample([90.0], [1.0])})
    assert [bool(c.p) for c in found] == [True, False, False]
    assert not found[1].apart and not found[2].apart
    assert found[0] == comparisons(far)[0] and found[0].apart
    assert all(math.isfinite(p) for c in found for p in c.p.values())
