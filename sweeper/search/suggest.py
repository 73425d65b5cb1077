"""A space as Optuna asks for it."""

from math import prod
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from search_spaces import Choices, Range, Space
from search_spaces.conditions import in_order, is_asked


def suggest(space: Space, trial: BaseTrial) -> dict[str, Any]:
    """A value for every searched path that the trial is asked for, in the order of the file."""
    settings, parameters = space.settings, space.search.parameters
    values: dict[str, Any] = {}
    for path in in_order(parameters):
        if is_asked(parameters[path], values):
            values[path] = _value(trial, path, parameters[path], settings.is_whole(path))
    return {path: values[path] for path in parameters if path in values}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """What `suggest` draws from, of every searched path."""
    settings = space.settings
    return {
        path: _distribution(domain, settings.is_whole(path))
        for path, domain in space.search.parameters.items()
    }


def grid(space: Space) -> dict[str, list[Any]]:
    """Every value of every searched path, as Optuna's GridSampler takes them.

    Raises:
        ValueError: a path has a range without steps; a space with the sampler grid has none.
    """
    settings = space.settings
    return {
        path: list(domain.values(settings.is_whole(path))) for path, domain in space.search.parameters.items()
    }


def trials_of(space: Space) -> int:
    """How many trials a search has: those asked for, or the points of its grid where these are fewer."""
    asked = space.search.trials
    return min(asked, points(space)) if space.search.sampler == "grid" else asked


def points(space: Space) -> int:
    """How many points the grid of a space has.

    Raises:
        ValueError: as for `grid`.
    """
    return prod(len(values) for values in grid(space).values())


def _value(trial: BaseTrial, path: str, domain: Range | Choices, whole: bool) -> Any:
    match _distribution(domain, whole):
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(path, choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(path, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(path, low, high, step=step, log=log)


def _distribution(domain: Range | Choices, whole: bool) -> BaseDistribution:
    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.choices)
    low, high = domain.low, domain.last(whole)
    if whole:
        return IntDistribution(int(low), int(high), domain.log, int(domain.step or 1))
    return FloatDistribution(low, high, domain.log, domain.step)
