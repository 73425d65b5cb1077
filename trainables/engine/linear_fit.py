"""Multinomial logistic regression."""

import torch
import torch.nn.functional as F
from torch import Tensor

DECAY = 1e-3

_ITERATIONS = 1000
_GRADIENT = 1e-5  # largest entry of the gradient at which the fit has converged


@torch.inference_mode(False)
def fit_linear(
    features: Tensor,
    labels: Tensor,
    classes: int,
    decay: float = DECAY,
    start: Tensor | None = None,
    bias: bool = True,
) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier by L-BFGS on all rows at once, in the precision of the features.

        minimise  mean_n cross_entropy(W x_n + b, y_n) + decay / 2 * |W|^2

    The problem is convex: ``start`` changes how long it takes, not where it ends. In scikit-learn's words
    decay is 1 / (C * N).

    Args:
        features: (N, D), finite.
        labels: (N,), int64; a class may be missing among them.
        classes: C, number of classes.
        decay: weight of the L2 penalty, which leaves the bias alone.
        start: (C, D), weights to start from; None for zeros.
        bias: False keeps b at zero.

    Returns:
        W (C, D) and b (C,), which have no gradient.
    """
    # Tensors of inference mode cannot be differentiated through; their copies can.
    features, labels = features.detach().clone(), labels.clone()
    weight = features.new_zeros(classes, features.shape[1])
    if start is not None:
        weight.copy_(start.detach())
    weight.requires_grad_()
    offset = features.new_zeros(classes, requires_grad=bias)
    optimizer = torch.optim.LBFGS(
        [weight, offset] if bias else [weight],
        max_iter=_ITERATIONS,
        tolerance_grad=_GRADIENT,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(features, weight, offset), labels)
        loss = loss + decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return weight.detach(), offset.detach()
