"""What the searched parameters have to do with the objectives."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.report.confidence import OBJECTIVES
from sweeper.study.front import has_objectives
from sweeper.study.records import SweepRecord, TrialRecord

#: Complete trials from which on it is said which parameter matters.
ENOUGH = 10
#: Trials that count as the best, as many as PED-ANOVA's authors ask for.
_BEST = 5
#: Where a trial lies that has no value of a parameter: as far from its low end as the high one is.
_APART = -1.0
_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "id_accuracy": "maximize",
    "forgetting": "minimize",
}


@dataclass(frozen=True)
class Searched:
    """The complete trials of a search, by number, with the parameters that could differ among them.

    Attributes:
        domains: of each parameter that has more than one value, by its dotted name.
        trials: those whose values lie in these, and that have both objectives. A trial lacks the parameters
            that it was not asked for.
        number: of all trials of the sweep.
    """

    domains: dict[str, BaseDistribution]
    trials: list[TrialRecord]
    number: int

    @classmethod
    def of(cls, record: SweepRecord) -> "Searched":
        """What a sweep has searched so far."""
        domains = {name: domain for name, domain in record.domains.items() if not domain.single()}
        trials = [
            trial
            for trial in record.trials
            if trial.state == "complete" and has_objectives(trial) and _inside(trial, domains)
        ]
        return cls(domains, trials, len(record.trials))

    @property
    def common(self) -> list[str]:
        """The parameters that all trials were asked for."""
        return [name for name in self.domains if len(self.asked_for(name, self.trials)) == len(self.trials)]

    @staticmethod
    def asked_for(name: str, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Those of the trials that have a value of a parameter."""
        return [trial for trial in trials if name in trial.parameters]

    @property
    def enough(self) -> bool:
        """Whether it can be said which parameter matters."""
        return bool(self.domains) and len(self.trials) >= ENOUGH

    def values(self, objective: str) -> NDArray[np.float64]:
        """An objective of each trial: (N,)."""
        return np.array([trial.metrics[objective] for trial in self.trials])

    def positions(self, name: str, trials: Sequence[TrialRecord]) -> NDArray[np.float64]:
        """Where trials lie in a parameter's domain, 0 its low and 1 its high end: (N,).

        Choices lie at equal distances, in their own order, or by size where they are numbers. Trials that
        were not asked for it lie at `_APART`.
        """
        domain = self.domains[name]
        return np.array(
            [_position(domain, t.parameters[name]) if name in t.parameters else _APART for t in trials]
        )

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """The trials in the unit cube of the parameters, or at `_APART` beside it: (N, P)."""
        return np.stack([self.positions(name, self.trials) for name in self.domains], axis=1)

    @cached_property
    def studies(self) -> dict[str, optuna.Study]:
        """For each objective the trials as a study of Optuna in memory; what is left out has failed in it."""
        by_number = {int(trial.group): trial for trial in self.trials}
        studies = {}
        for objective, direction in _DIRECTIONS.items():
            studies[objective] = optuna.create_study(direction=direction)
            studies[objective].add_trials(
                [self._trial(by_number.get(number), objective) for number in range(self.number)]
            )
        return studies

    def _trial(self, trial: TrialRecord | None, objective: str) -> FrozenTrial:
        if trial is None:
            return create_trial(state=TrialState.FAIL)
        domains = {name: domain for name, domain in self.domains.items() if name in trial.parameters}
        parameters = {name: trial.parameters[name] for name in domains}
        return create_trial(params=parameters, distributions=domains, value=trial.metrics[objective])

    @cached_property
    def importances(self) -> dict[str, dict[str, float]]:
        """For each objective, how much each parameter decides on being among the best; shares that sum to 1.

        PED-ANOVA (arXiv 2304.10255), by Optuna: how far the values of the best tenth, at least five trials,
        are from those of all; of a parameter that only some were asked for, among these (arXiv 2601.20800).
        Ask only where there are `enough` trials. What no trial was asked for is left out.
        """
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(
            target_quantile=max(0.1, _BEST / len(self.trials))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that all are equal where every trial is among the best
            return {
                objective: optuna.importance.get_param_importances(study, evaluator=evaluator)
                for objective, study in self.studies.items()
            }

    @cached_property
    def explained(self) -> dict[str, float | None]:
        """For each objective, the share of its variance among trials that the parameters explain.

        The coefficient of determination R^2 of a random forest, each trial predicted by the trees that have
        not seen it (out of bag); at or below 0 where they explain nothing. None where all trials are equal.
        """
        from sklearn.ensemble import RandomForestRegressor  # imported here, since few commands need it

        found: dict[str, float | None] = {}
        for objective in OBJECTIVES:
            values = self.values(objective)
            forest = RandomForestRegressor(100, min_samples_leaf=2, oob_score=True, random_state=0)
            found[objective] = float(forest.fit(self.points, values).oob_score_) if np.ptp(values) else None
        return found


def _inside(trial: TrialRecord, domains: Mapping[str, BaseDistribution]) -> bool:
    """Whether a trial's values are some of the domains'; one that a person has given may lie outside."""
    return all(
        _holds(domain, trial.parameters[name]) for name, domain in domains.items() if name in trial.parameters
    )


def _holds(domain: BaseDistribution, value: Any) -> bool:
    if isinstance(domain, CategoricalDistribution):
        return value in domain.choices
    assert isinstance(domain, FloatDistribution | IntDistribution)
    return bool(domain.low <= value <= domain.high)


def _position(domain: BaseDistribution, value: Any) -> float:
    if isinstance(domain, CategoricalDistribution):
        return in_order(domain).index(value) / (len(domain.choices) - 1)
    assert isinstance(domain, FloatDistribution | IntDistribution)
    scale = math.log if domain.log else float
    return (scale(value) - scale(domain.low)) / (scale(domain.high) - scale(domain.low))


def in_order(domain: CategoricalDistribution) -> list[Any]:
    """The choices by size where they are numbers, else as written."""
    return sorted(domain.choices) if are_numbers(domain) else list(domain.choices)


def are_numbers(domain: CategoricalDistribution) -> bool:
    """Whether all choices are numbers."""
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in domain.choices)
