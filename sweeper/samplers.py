"""The samplers of Optuna and of this project, by the names that a space uses."""

from collections.abc import Sequence

from optuna.samplers import BaseSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces import Space, grid
from sweeper.budget_sampler import BudgetSampler
from sweeper.masks import MaskSampler


def make_sampler(space: Space, number: int, blocks: Sequence[str]) -> BaseSampler:
    """The space's sampler for one trial, seeded by the search's seed and the trial's number.

    A grid is the exception: its order is one permutation for all trials.
    """
    seed = space.search.seed * 1_000_003 + number
    sampler = _by_name(space, seed, len(blocks))
    if space.budget.mode == "mask":
        return MaskSampler(blocks, space.budget.count(len(blocks)), sampler, seed)
    return sampler


def _by_name(space: Space, seed: int, blocks: int) -> BaseSampler:
    match space.search.sampler:
        case "tpe":
            return TPESampler(multivariate=True, constant_liar=True, seed=seed)
        case "gp":
            return GPSampler(seed=seed)
        case "nsga2":
            return NSGAIISampler(seed=seed)
        case "random":
            return RandomSampler(seed=seed)
        case "grid":
            return GridSampler(grid(space), seed=space.search.seed)
        case "budget":
            budget, tolerance = space.budget.count(blocks), space.budget.tolerance
            return BudgetSampler(budget - tolerance, budget + tolerance, space.training.epochs, seed)
