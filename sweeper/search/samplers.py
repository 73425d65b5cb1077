"""The samplers of Optuna and of this project, by the names that a space uses."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from optuna import Trial
from optuna.samplers import BaseSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces import Space
from sweeper.search.budget_sampler import BudgetSampler
from sweeper.search.masks import MaskSampler, suggest_mask
from sweeper.search.spread import STARTUP, SpreadStart
from sweeper.search.suggest import grid, suggest

_POPULATION = 50  # Optuna's default


def make_sampler(space: Space, number: int, blocks: Sequence[str]) -> BaseSampler:
    """The space's sampler for one trial, seeded by the search's seed and the trial's number.

    A grid is the exception: its order is one permutation for all trials.
    """
    # A sampler takes seeds of 32 bits.
    seed = (space.search.seed * 1_000_003 + number) % 2**32
    sampler = _by_name(space, seed, len(blocks))
    if space.budget.mode == "mask":
        return MaskSampler(blocks, space.budget.count(len(blocks)), sampler, seed)
    return sampler


def propose(space: Space, trial: Trial, blocks: Sequence[str]) -> dict[str, Any]:
    """What the space of a trial has beyond the sweep's, asked of the trial's sampler."""
    values = suggest(space, trial)
    if space.budget.mode == "mask":
        values |= suggest_mask(space, trial, blocks, space.budget.count(len(blocks)))
    return values


def attributes(space: Space) -> dict[str, Any]:
    """What the space's sampler must find on a trial that it has not proposed itself, to learn from it."""
    # NSGA-II breeds from those of a generation, which it notes when it proposes them.
    return {NSGAIISampler._get_generation_key(): 0} if space.search.sampler == "nsga2" else {}


def _by_name(space: Space, seed: int, blocks: int) -> BaseSampler:
    # What only some trials are asked for TPE learns apart from the rest.
    group = any(domain.when for domain in space.search.parameters.values())
    tpe = TPESampler(multivariate=True, group=group, constant_liar=True, n_startup_trials=STARTUP, seed=seed)
    spread = partial(SpreadStart, paths=list(space.search.parameters), seed=space.search.seed)
    match space.search.sampler:
        case "tpe":
            return spread(tpe)
        case "gp":
            return spread(GPSampler(n_startup_trials=STARTUP, seed=seed))
        case "nsga2":
            return spread(NSGAIISampler(population_size=_POPULATION, seed=seed), startup=_POPULATION)
        case "random":
            return RandomSampler(seed=seed)
        case "grid":
            return GridSampler(grid(space), seed=space.search.seed)
        case "budget":
            budget, tolerance = space.budget.count(blocks), space.budget.tolerance
            ends = budget - tolerance, budget + tolerance
            return BudgetSampler(*ends, space.training.epochs, seed, spread(tpe))
