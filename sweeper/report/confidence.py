"""How far the mean of a few seeds can be trusted, and which two means can be told apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

#: How often an interval holds the true mean; 1 - CONFIDENCE is the level of the tests.
CONFIDENCE = 0.95
#: What two points are compared on.
OBJECTIVES = ("id_accuracy", "forgetting")


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, mean - half_width to mean + half_width.

    Attributes:
        half_width: None where one value leaves it unknown.
        count: number of values.
    """

    mean: float
    half_width: float | None
    count: int


@dataclass(frozen=True)
class Comparison:
    """Two points, compared.

    Attributes:
        p: for each of `OBJECTIVES` Welch's p-value, corrected by Holm over all that were compared together;
            empty where a point has fewer than two values, which no test can compare.
    """

    one: str
    other: str
    p: Mapping[str, float]

    @property
    def apart(self) -> bool:
        """Whether at least one objective differs at the 5 % level."""
        return any(value < 1 - CONFIDENCE for value in self.p.values())


def interval(values: Sequence[float]) -> Interval | None:
    """Mean and 95 % confidence interval of the mean, by Student's t.

        half_width = t(0.975, n - 1) * s / sqrt(n)

    with the sample's standard deviation s (divisor n - 1): *Student, The probable error of a mean*,
    Biometrika 1908. Equal values give a width of zero. None where there is no value.
    """
    if not values:
        return None
    n = len(values)
    if n == 1:
        return Interval(values[0], None, 1)
    # Imported where several seeds are compared: it would take a seventh of every other command's start.
    from scipy.stats import t as student

    t = float(student.ppf((1 + CONFIDENCE) / 2, n - 1))
    return Interval(fmean(values), t * stdev(values) / math.sqrt(n), n)


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p-value of Welch's t-test that two samples have one mean; their variances may differ.

        t = (m1 - m2) / sqrt(v1 + v2),   v = s^2 / n
        degrees of freedom = (v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1))

    *Welch, The generalization of "Student's" problem when several different population variances are
    involved*, Biometrika 1947; as `scipy.stats.ttest_ind(equal_var=False)`. Where neither sample varies t is
    no number; its limit is used: 1 for equal means, 0 for others.

    Args:
        one, other: at least two values each.
    """
    means, spreads = (fmean(one), fmean(other)), (stdev(one), stdev(other))
    if not any(spreads):
        return float(math.isclose(*means, abs_tol=1e-9))
    from scipy.stats import ttest_ind_from_stats

    # From the moments: given values, scipy warns of lost precision where one sample does not vary.
    test = ttest_ind_from_stats(
        means[0], spreads[0], len(one), means[1], spreads[1], len(other), equal_var=False
    )
    return float(test.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number m, in the order given.

        corrected p of the i-th smallest = max over j <= i of min(1, (m - j + 1) * p_j),   i, j from 1

    So the chance to call any difference that is none stays at the level (*Holm, A simple sequentially
    rejective multiple test procedure*, Scandinavian Journal of Statistics 1979).
    """
    corrected = [0.0] * len(p)
    highest = 0.0
    for rank, position in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[position]))
        corrected[position] = highest
    return corrected


def comparisons(samples: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Comparison]:
    """Every pair of points, in order; the correction counts both objectives of every pair that is tested.

    Args:
        samples: for each point, for each of `OBJECTIVES`, one value a seed.
    """
    pairs = list(combinations(samples, 2))
    tested = [
        pair for pair in pairs if all(len(samples[label][name]) > 1 for label in pair for name in OBJECTIVES)
    ]
    tests = [(*pair, name) for pair in tested for name in OBJECTIVES]
    found = holm([welch(samples[one][name], samples[other][name]) for one, other, name in tests])
    corrected = dict(zip(tests, found, strict=True))
    return [
        Comparison(*pair, {name: corrected[*pair, name] for name in OBJECTIVES} if pair in tested else {})
        for pair in pairs
    ]
