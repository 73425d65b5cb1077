"""How many trials to train together."""

import time
from collections.abc import Callable

from search_spaces import Space
from sweeper.search.suggest import trials_of
from trainables.engine.memory import keep_freed_memory, out_of_memory, return_freed_memory
from trainables.engine.training import Training
from trainables.problem import Problem

_SIZES = (1, 2, 4, 8, 16, 32)
_STEPS = 3
# A sampler that learns from trials is given at least so many rounds of them.
_ROUNDS = {"random": 1, "grid": 1}
_LEARNING = 4


TIMING_PACKS = "timing how many trials are best trained together ..."
"""What is said before `choose_pack` measures."""


def times_packs(space: Space) -> bool:
    """Whether `choose_pack` measures, which takes a while."""
    return space.packable and space.resources.pack == "auto"


def rounds(space: Space) -> int:
    """How many rounds a space's sampler needs at least: it learns from those before."""
    return _ROUNDS.get(space.search.sampler, _LEARNING)


def choose_pack(problem: Problem, space: Space, at_once: int) -> int:
    """The pack size that a space asks for; for ``auto``, the one that is done with most trials a second here.

    A larger pack must be at least a tenth faster a trial and fit the memory, and ``at_once`` packs side by
    side must leave the sampler some rounds to learn from.
    """
    if not space.packable:
        return 1
    if space.resources.pack != "auto":
        return space.resources.pack
    keep_freed_memory()  # as in the processes of the trials
    try:
        return _fastest(problem.placed(space.resources), space, at_once)
    finally:
        return_freed_memory()


def _fastest(problem: Problem, space: Space, at_once: int) -> int:
    best, best_cost = 1, float("inf")
    largest = max(1, trials_of(space) // (rounds(space) * at_once))
    for size in (size for size in _SIZES if size <= largest):
        try:
            cost = _seconds_an_epoch(problem, space, size) / size
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            break
        if cost > 0.9 * best_cost:
            break
        best, best_cost = size, cost
    return best


def _seconds_an_epoch(problem: Problem, space: Space, size: int) -> float:
    """Seconds of an epoch for a pack of this size: of its steps, and of its share of a validation."""
    training = Training(problem, [space] * size)
    some: int = next(training.learner.encode(problem.task.val)).shape[1]
    pictures = len(problem.task.val) + sum(probe.pictures for probe in problem.probes)
    # Reading a value waits for the device.
    step = _median_seconds(lambda: training.run_batches(1).tolist())
    part = _median_seconds(lambda: next(training.learner.encode(problem.task.val)).sum().item())
    validation = part * pictures / some
    epoch: float = training.batches * step + validation / space.training.validate_every
    return epoch


def _median_seconds(function: Callable[[], object]) -> float:
    """Of some calls after the first."""
    function()
    seconds: list[float] = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[_STEPS // 2]
