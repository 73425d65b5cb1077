"""One fine-tune: backbones, methods, data, probes and the training loop.

Needs torch, timm and open_clip only, except for `trainables.fine_tune`, which is the Ray Tune trainable.
"""

from trainables.engine.training import Training, measure_reference
from trainables.errors import ProblemError
from trainables.problem import Problem, open_problem

__all__ = ["Problem", "ProblemError", "Training", "measure_reference", "open_problem"]
