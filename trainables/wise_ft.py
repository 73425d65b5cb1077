"""WiSE-FT: a trained update, scaled."""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.learner import Learner, initial_generators
from trainables.measures import Metrics
from trainables.objectives import PromptHead, prompt_weights
from trainables.training import Training

SHARES = tuple(round(tenth / 10, 1) for tenth in range(11))
"""The scales of the update: 0 is the pre-trained model, 1 the fine-tuned one."""


@torch.no_grad()
def wise_ft_curves(training: Training) -> list[list[Metrics]]:
    """For each member, its metrics on all splits (and ``a``) with weights (1 - a) before + a after.

    For low-rank blocks that is the update times a. A head that started as the class prompts moves along with
    the weights; a fresh one, which says nothing at its start, stays as trained. The members are left as
    they were. Source: Wortsman et al., CVPR 2022 (arXiv 2109.01903).
    """
    before = _start(training)
    weights = _moving(training.learner)
    after = {name: p.detach().clone() for name, p in weights.items()}
    curves: list[list[Metrics]] = [[] for _ in training.spaces]
    for share in SHARES:
        _set(weights, {name: torch.lerp(before[name], after[name], share) for name in weights})
        for curve, validation, test in zip(curves, training.validate(), training.test(), strict=True):
            curve.append({"a": share, **validation, **test})
    _set(weights, after)
    return curves


def _moving(learner: Learner) -> dict[str, Tensor]:
    head = learner.objective.named_parameters() if isinstance(learner.objective, PromptHead) else ()
    return {**learner.method.updates(), **{f"head.{name}": p for name, p in head}}


def _start(training: Training) -> dict[str, Tensor]:
    """The weights before the training, which the seed gives again; the head as the class prompts."""
    methods = [{**space["method"]} for space in training.spaces]
    kind, generators = type(training.learner.method), initial_generators(training.spaces)
    start: dict[str, Tensor] = dict(kind(training.problem.backbone, methods, generators).updates())
    if isinstance(training.learner.objective, PromptHead):
        start["head.weight"] = prompt_weights(training.problem).expand_as(training.learner.objective.weight)
    return start


def _set(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(values[name])
