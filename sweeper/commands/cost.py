"""What a sweep will cost, judged from a few steps on this machine."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from search_spaces import Space
from sweeper.search.suggest import trials_of
from trainables.device import use_threads
from trainables.engine.training import Training
from trainables.problem import Problem

_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """Seconds on this machine, without what packs save, and without the tests of WiSE-FT's mixtures.

    Attributes:
        trial: of one trial.
        sweep: of all trials, baselines and confirmations, ``at_once`` of them side by side.
    """

    trial: float
    sweep: float
    at_once: int


def estimate(problem: Problem, space: Space) -> Cost:
    """Times some training steps and two validations, and multiplies: as a trial here, by its threads.

    The first validation also fills the memory of what frozen layers make of the pictures.
    """
    resources = space.resources
    use_threads(resources.cpus_per_trial)
    gpus = resources.gpus_per_trial if torch.cuda.is_available() else 0
    training = Training(problem.placed(resources.model_copy(update={"gpus_per_trial": gpus})), [space])
    training.run_batches(1)
    steps = min(_STEPS, training.batches)
    step = _seconds(lambda: training.run_batches(steps)) / steps
    validations = -(-training.epochs // space.training.validate_every)
    validated = _seconds(training.validate) if validations else 0.0
    if validations > 1:
        validated += (validations - 1) * _seconds(training.validate)
    trained = training.epochs * training.batches * step + validated
    trial = trained + _seconds(training.test)
    at_once = max(1, int((os.cpu_count() or 1) / resources.cpus_per_trial))
    runs = trials_of(space) + len(space.baseline_runs) + confirmations(space)
    return Cost(trial, trial * -(-runs // at_once), at_once)


def confirmations(space: Space) -> int:
    """How many runs confirm the front at most."""
    return space.confirm.trials * space.confirm.seeds if space.confirm else 0


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
