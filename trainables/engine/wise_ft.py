"""WiSE-FT: the curve of a trained update, scaled."""

import torch

from trainables.engine.measures import Metrics
from trainables.engine.scaling import Scaling, Update
from trainables.engine.training import Training

SHARES = tuple(round(tenth / 10, 1) for tenth in range(11))
"""The scales of the update: 0 is the pre-trained model, 1 the fine-tuned one."""


@torch.no_grad()
def wise_ft_curves(training: Training) -> list[list[Metrics]]:
    """For each member, its metrics on all splits (and ``a``) with weights (1 - a) before + a after.

    The members are left as they were. Source: Wortsman et al., CVPR 2022 (arXiv 2109.01903).
    """
    update = Update(training.learner)
    curves: list[list[Metrics]] = [[] for _ in training.spaces]
    for share in SHARES:
        with update.scaled(Scaling("scale", share)):
            for curve, validation, test in zip(curves, training.validate(), training.test(), strict=True):
                curve.append({"a": share, **validation, **test})
    return curves
