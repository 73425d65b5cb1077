"""How many trials to train together."""

import time

from search_spaces import Space
from sweeper.search.suggest import trials_of
from trainables.device import device_for
from trainables.memory import keep_freed_memory, out_of_memory, return_freed_memory
from trainables.problem import Problem
from trainables.training import Training

_SIZES = (1, 2, 4, 8, 16, 32)
_STEPS = 3
# A sampler that learns from trials is given at least so many rounds of them.
_ROUNDS = {"random": 1, "grid": 1}
_LEARNING = 4


def rounds(space: Space) -> int:
    """How many rounds a space's sampler needs at least: it learns from those before."""
    return _ROUNDS.get(space.search.sampler, _LEARNING)


def choose_pack(problem: Problem, space: Space, at_once: int) -> int:
    """The pack size that a space asks for; for ``auto``, the one that trains most trials a second here.

    A larger pack must be at least a tenth faster a trial and fit the memory, and ``at_once`` packs side by
    side must leave the sampler some rounds to learn from.
    """
    if not space.packable:
        return 1
    if space.resources.pack != "auto":
        return space.resources.pack
    keep_freed_memory()  # as in the processes of the trials
    try:
        return _fastest(problem.to(device_for(space.resources.gpus_per_trial)), space, at_once)
    finally:
        return_freed_memory()


def _fastest(problem: Problem, space: Space, at_once: int) -> int:
    best, best_cost = 1, float("inf")
    largest = max(1, trials_of(space) // (rounds(space) * at_once))
    for size in (size for size in _SIZES if size <= largest):
        try:
            cost = _seconds_a_step(problem, space, size) / size
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            break
        if cost > 0.9 * best_cost:
            break
        best, best_cost = size, cost
    return best


def _seconds_a_step(problem: Problem, space: Space, size: int) -> float:
    """Median seconds of a training step for a pack of this size."""
    training = Training(problem, [space.dump()] * size)
    training.run_batches(1).tolist()
    seconds = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        # Reading the loss waits for the device.
        training.run_batches(1).tolist()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[_STEPS // 2]
