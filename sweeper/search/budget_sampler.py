"""An Optuna sampler that looks for the budget: lambda from the line of active blocks, all else by TPE."""

import math
from collections import Counter
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.prices import Point, budget_interval

PRICE = "method.lambda"
_TELLING = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
# Some values never meet the budget, as where three blocks close together. So they are not tried more often.
_TRIES = 4
# Successive multiples of it, modulo 1, fill the unit interval evenly.
_GOLDEN = (math.sqrt(5) - 1) / 2


class BudgetSampler(BaseSampler):
    """Proposes prices at which just the budget's blocks are expected to stay active.

    All other parameters are TPE's, which knows the constraint. But where a trial missed the budget, it is the
    price that was wrong and not the others: until one trial is inside the budget, and from then on every
    second time, values are tried again with which none was inside yet. The price has to be suggested last:
    what is expected depends on the others. While no trial has told anything, prices fill the range evenly
    from its middle. Trials tell by their attribute ``metrics``.

    Args:
        fewest, most: active blocks that are inside the budget and aimed at.
        epochs: of a trial.
        seed: of all that is drawn.
        others: proposes all other parameters; None for TPE.
    """

    def __init__(
        self, fewest: int, most: int, epochs: int, seed: int, others: BaseSampler | None = None
    ) -> None:
        self._fewest, self._most, self._epochs = fewest, most, epochs
        self._tpe = others or TPESampler(multivariate=True, constant_liar=True, seed=seed)
        self._generator = np.random.default_rng(seed)
        self._chosen: dict[int, FrozenTrial | None] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """TPE's, without the price."""
        space = self._tpe.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in space.items() if name != PRICE}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values that are tried again, or TPE's."""
        again = self._again(study, trial.number)
        if again is None:
            return self._tpe.sample_relative(study, trial, search_space)
        return {name: value for name, value in again.params.items() if name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The price by the line, all else tried again or by TPE."""
        if param_name != PRICE:
            again = self._again(study, trial.number)
            if again is not None and param_name in again.params:
                return again.params[param_name]
            return self._tpe.sample_independent(study, trial, param_name, param_distribution)
        assert isinstance(param_distribution, FloatDistribution)
        low, high = math.log(param_distribution.low), math.log(param_distribution.high)
        proposal = self._log_price(study, trial, low, high)
        return float(np.clip(math.exp(proposal), param_distribution.low, param_distribution.high))

    def _again(self, study: Study, number: int) -> FrozenTrial | None:
        """The trial whose values are tried again, chosen once for all parameters; None for values of TPE."""
        if number not in self._chosen:
            self._chosen = {number: self._missed_by_least(study, number)}
        return self._chosen[number]

    def _missed_by_least(self, study: Study, number: int) -> FrozenTrial | None:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = {trial.number: tuple(sorted(_others(trial).items())) for trial in complete}
        # The budget is the first constraint; no price mends a limit that is missed.
        missed_by = {trial.number: next(iter(trial.constraints.values())) for trial in complete}
        met = {others[trial.number] for trial in complete if missed_by[trial.number] <= 0}
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        # Two at the same values would also have the same price.
        under_way = {tuple(sorted(_others(trial).items())) for trial in running if trial.number != number}
        tried = Counter(others.values())
        missed = [
            t for t in complete if (own := others[t.number]) not in met | under_way and tried[own] < _TRIES
        ]
        if not missed or (met and number % 2):
            return None
        return min(missed, key=lambda trial: missed_by[trial.number])

    def _log_price(self, study: Study, trial: FrozenTrial, low: float, high: float) -> float:
        others = [t for t in study.get_trials(deepcopy=False, states=_TELLING) if t.number != trial.number]
        points = [point for other in others if (point := self._point(other))]
        if not points:
            return low + (0.5 + _GOLDEN * len(others)) % 1 * (high - low)
        lower, upper = budget_interval(points, self._fewest, self._most, _others(trial))
        if self._again(study, trial.number):
            return (lower + upper) / 2
        # Anywhere well inside: equal values would give equal trials.
        return lower + self._generator.uniform(0.2, 0.8) * (upper - lower)

    def _point(self, trial: FrozenTrial) -> Point | None:
        metrics = trial.user_attrs.get("metrics", {})
        if "expected_active_blocks" not in metrics or PRICE not in trial.params:
            return None
        done = metrics["epoch"] / trial.params.get("training.epochs", self._epochs)
        return Point(
            math.log(trial.params[PRICE]), int(metrics["expected_active_blocks"]), _others(trial), done
        )


def _others(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's values but for its price."""
    return {name: value for name, value in trial.params.items() if name != PRICE}
