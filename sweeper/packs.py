"""How many trials to train together."""

import time

from search_spaces import Space
from trainables.problem import Problem
from trainables.training import Training, best_device

_SIZES = (1, 2, 4, 8, 16, 32)
_STEPS = 3
# The sampler learns between rounds, so a search has at least so many.
_ROUNDS = 4


def choose_pack(problem: Problem, space: Space, at_once: int) -> int:
    """The pack size that a space asks for; for ``auto``, the one that trains most trials a second here.

    A larger pack must be at least a tenth faster a trial, and ``at_once`` packs side by side must leave the
    sampler some rounds to learn from.
    """
    if not space.packable:
        return 1
    if space.resources.pack != "auto":
        return space.resources.pack
    problem = problem.to(best_device())
    best, best_cost = 1, float("inf")
    largest = max(1, space.search.trials // (_ROUNDS * at_once))
    for size in (size for size in _SIZES if size <= largest):
        cost = _seconds_a_step(problem, space, size) / size
        if cost > 0.9 * best_cost:
            break
        best, best_cost = size, cost
    return best


def _seconds_a_step(problem: Problem, space: Space, size: int) -> float:
    """Median seconds of a training step for a pack of this size."""
    training = Training(problem, [space.dump()] * size)
    training.run_batches(1)
    seconds = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        training.run_batches(1)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[_STEPS // 2]
