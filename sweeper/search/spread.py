"""First draws that are spread out, where a sampler that learns from trials has none to learn from."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

STARTUP = 10
"""Trials that TPE and the Gaussian process wait for, as Optuna's defaults are."""


class SpreadStart(BaseSampler):
    """Another sampler, whose independent draws are Sobol' points until some trials have finished.

    A trial's point depends on its number alone, so a sweep that is resumed goes on with the same points. Any
    2^m of the first trials that follow each other from a multiple of 2^m have one value in each of 2^m equal
    parts of every parameter's range (Sobol', 1967; scrambled as Owen, 1998, does).

    Args:
        learning: what proposes all else.
        paths: the parameters, one coordinate of the points each.
        seed: of the scrambling; the same for all trials of a sweep.
        startup: how many trials the other sampler needs before it learns.
    """

    def __init__(
        self, learning: BaseSampler, paths: Sequence[str], seed: int, startup: int = STARTUP
    ) -> None:
        self._learning, self._paths = learning, list(paths)
        self._seed, self._startup = seed, startup

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The other sampler's."""
        return self._learning.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The other sampler's."""
        return self._learning.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The trial's point, while the other sampler would draw at random."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if param_name not in self._paths or len(ended) >= self._startup:
            return self._learning.sample_independent(study, trial, param_name, param_distribution)
        point = _point(trial.number, len(self._paths), self._seed)
        return _value(param_distribution, float(point[self._paths.index(param_name)]))


@lru_cache(maxsize=4)
def _point(number: int, size: int, seed: int) -> NDArray[np.float64]:
    """The point of a number: (size,), each in [0, 1)."""
    from scipy.stats.qmc import Sobol  # imported here, since few commands draw

    points = Sobol(size, scramble=True, rng=seed)
    if number:
        points.fast_forward(number)
    point: NDArray[np.float64] = points.random(1)[0]
    return point


def _value(domain: BaseDistribution, share: float) -> Any:
    """The value that has a share, in [0, 1), of a parameter's domain below it."""
    if isinstance(domain, CategoricalDistribution):
        return domain.choices[int(share * len(domain.choices))]
    assert isinstance(domain, FloatDistribution | IntDistribution)
    if domain.step is not None and not domain.log:
        places = round((domain.high - domain.low) / domain.step) + 1
        return domain.low + domain.step * int(share * places)
    # Whole numbers on a logarithmic scale have half a number around them.
    around = 0.5 if isinstance(domain, IntDistribution) else 0.0
    low, high = domain.low - around, domain.high + around
    if not domain.log:
        return low + share * (high - low)
    value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return round(value) if around else min(max(value, low), high)
