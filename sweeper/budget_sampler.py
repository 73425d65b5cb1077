"""An Optuna sampler that looks for the budget: lambda from the line of active blocks, all else by TPE."""

import math
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sweeper.prices import Point, budget_interval

PRICE = "method.lambda"
_TELLING = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
# Some values never meet the budget, as where three blocks close together. So they are not kept for longer.
_FIRST = 5
# Successive multiples of it, modulo 1, fill the unit interval evenly.
_GOLDEN = (math.sqrt(5) - 1) / 2


class BudgetSampler(BaseSampler):
    """Proposes prices at which just the budget's blocks are expected to stay active.

    Until a trial is inside the budget, the first trials have all other parameters as the one that came
    nearest to it; then they are TPE's, which knows the constraint. The price has to be suggested last: what
    is expected depends on the others. While no trial has told anything, prices fill the range evenly from its
    middle. Trials tell by their attribute ``metrics``.

    Args:
        fewest, most: active blocks that are inside the budget and aimed at.
        epochs: of a trial.
        seed: of all that is drawn.
    """

    def __init__(self, fewest: int, most: int, epochs: int, seed: int) -> None:
        self._fewest, self._most, self._epochs = fewest, most, epochs
        self._others = TPESampler(multivariate=True, constant_liar=True, seed=seed)
        self._generator = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """TPE's, without the price."""
        space = self._others.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in space.items() if name != PRICE}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The nearest trial's values, or TPE's."""
        nearest = self._nearest(study)
        if nearest is None:
            return self._others.sample_relative(study, trial, search_space)
        return {name: value for name, value in nearest.params.items() if name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The price by the line, all else from the nearest trial or by TPE."""
        if param_name != PRICE:
            nearest = self._nearest(study)
            if nearest is not None and param_name in nearest.params:
                return nearest.params[param_name]
            return self._others.sample_independent(study, trial, param_name, param_distribution)
        assert isinstance(param_distribution, FloatDistribution)
        low, high = math.log(param_distribution.low), math.log(param_distribution.high)
        proposal = self._log_price(study, trial, low, high)
        return float(np.clip(math.exp(proposal), param_distribution.low, param_distribution.high))

    def _nearest(self, study: Study) -> FrozenTrial | None:
        """Of the first trials, the one that missed the budget by least; None if none did, or one met it."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        missed = {trial.number: sum(trial.constraints.values()) for trial in complete}
        if not 0 < len(complete) < _FIRST or min(missed.values()) <= 0:
            return None
        return min(complete, key=lambda trial: missed[trial.number])

    def _log_price(self, study: Study, trial: FrozenTrial, low: float, high: float) -> float:
        others = [t for t in study.get_trials(deepcopy=False, states=_TELLING) if t.number != trial.number]
        points = [point for other in others if (point := self._point(other))]
        if not points:
            return low + (0.5 + _GOLDEN * len(others)) % 1 * (high - low)
        values = {name: value for name, value in trial.params.items() if name != PRICE}
        lower, upper = budget_interval(points, self._fewest, self._most, values)
        if self._nearest(study):
            return (lower + upper) / 2
        # Anywhere well inside: equal values would give equal trials.
        return lower + self._generator.uniform(0.2, 0.8) * (upper - lower)

    def _point(self, trial: FrozenTrial) -> Point | None:
        metrics = trial.user_attrs.get("metrics", {})
        if "expected_active_blocks" not in metrics or PRICE not in trial.params:
            return None
        values = {name: value for name, value in trial.params.items() if name != PRICE}
        done = metrics["epoch"] / trial.params.get("training.epochs", self._epochs)
        return Point(math.log(trial.params[PRICE]), int(metrics["expected_active_blocks"]), values, done)
