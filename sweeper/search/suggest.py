"""A space as Optuna asks for it."""

from math import prod
from typing import Any

from optuna.trial import BaseTrial

from search_spaces import Choices, Range, Settings, Space


def suggest(space: Space, trial: BaseTrial) -> dict[str, Any]:
    """A value for every searched path, in the order of the file.

    The price is asked for last: what it has to be to meet the budget depends on all the others.
    """
    settings = Settings(space.method, space.training)
    parameters = space.search.parameters
    values = {
        path: _value(trial, path, parameters[path], settings.is_whole(path))
        for path in sorted(parameters, key=lambda path: path == "method.lambda")
    }
    return {path: values[path] for path in parameters}


def grid(space: Space) -> dict[str, list[Any]]:
    """Every value of every searched path, as Optuna's GridSampler takes them.

    Raises:
        ValueError: a path has a range without steps; a space with the sampler grid has none.
    """
    settings = Settings(space.method, space.training)
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
    if isinstance(domain, Choices):
        return trial.suggest_categorical(path, domain.choices)
    low, high = domain.low, domain.last(whole)
    if whole:
        return trial.suggest_int(path, int(low), int(high), step=int(domain.step or 1), log=domain.log)
    return trial.suggest_float(path, low, high, step=domain.step, log=domain.log)
