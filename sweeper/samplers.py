"""Optuna's samplers by the names that a space uses."""

from optuna.samplers import BaseSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces import Space, grid


def make_sampler(space: Space, number: int) -> BaseSampler:
    """The space's sampler for one trial, seeded by the search's seed and the trial's number.

    A grid is the exception: its order is one permutation for all trials.
    """
    seed = space.search.seed * 1_000_003 + number
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
