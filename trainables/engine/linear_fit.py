"""Multinomial logistic regression, on features of which some are looked at at a time."""

import tempfile
from collections.abc import Callable, Iterable
from itertools import chain
from os import posix_fallocate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

DECAY = 1e-3
BLOCK = 2**24  # values, of features or of logits, that are held at a time: 64 MiB in float32

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
    prepare: Callable[[Tensor], Tensor] = Tensor.clone,
) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier by L-BFGS on all rows, in the precision of the features.

        minimise  mean_n cross_entropy(W x_n + b, y_n) + decay / 2 * |W|^2

    The problem is convex: ``start`` changes how long it takes, not where it ends. In scikit-learn's words
    decay is 1 / (C * N). Beside what it is given, it holds `BLOCK` values of features and as many logits.

    Args:
        features: (N, D), finite; on the device of the labels or not.
        labels: (N,), int64; a class may be missing among them.
        classes: C, number of classes.
        decay: weight of the L2 penalty, which leaves the bias alone.
        start: (C, D), weights to start from; None for zeros.
        bias: False keeps b at zero.
        prepare: makes x of some features (n, D), as a new tensor.

    Returns:
        W (C, D) and b (C,), which have no gradient.
    """
    # Tensors of inference mode cannot be differentiated through; what is made of them here can.
    labels, width = labels.clone(), features.shape[1]
    weight = features.new_zeros(classes, width, device=labels.device)
    if start is not None:
        weight.copy_(start.detach())
    weight.requires_grad_()
    offset = weight.new_zeros(classes, requires_grad=bias)
    optimizer = torch.optim.LBFGS(
        [weight, offset] if bias else [weight],
        max_iter=_ITERATIONS,
        tolerance_grad=_GRADIENT,
        line_search_fn="strong_wolfe",
    )

    def prepared() -> Iterable[Tensor]:
        return (prepare(part.to(labels.device)) for part in features.split(rows))

    rows = _rows(max(width, classes))
    # One block is prepared once.
    once = list(prepared()) if len(features) <= rows else None

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = decay / 2 * weight.square().sum()
        loss.backward()
        for inputs, theirs in zip(once or prepared(), labels.split(rows), strict=True):
            logits = F.linear(inputs, weight, offset)
            part = F.cross_entropy(logits, theirs, reduction="sum") / len(labels)
            part.backward()
            loss = loss.detach() + part.detach()
        return loss

    optimizer.step(objective)
    return weight.detach(), offset.detach()


def gathered(parts: Iterable[Tensor], count: int) -> Tensor:
    """Features (K, N, D) of parts (K, n, D): those of more than `BLOCK` values in a file that is mapped.

    It lies in the system's folder for temporary files, which the variable ``TMPDIR`` names, and is gone with
    the tensor.

    Args:
        parts: in float32, one after the other.
        count: N.

    Raises:
        OSError: the disk has no room for it.
    """
    each = iter(parts)
    first = next(each)
    shape = (len(first), count, first.shape[2])
    values = len(first) * count * first.shape[2]
    if values <= BLOCK:
        return torch.cat([first, *each], dim=1)
    with tempfile.TemporaryFile() as file:
        # A page that has no room on the disk later would end the process.
        posix_fallocate(file.fileno(), 0, 4 * values)
        whole = torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    start = 0
    for part in chain([first], each):
        whole[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return whole


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of features (N, D), over the rows; some are looked at at a time."""
    parts = features.split(_rows(features.shape[1]))
    mean = _sum(part.sum(dim=0, dtype=torch.float64) for part in parts) / len(features)
    squares = _sum((part - mean.to(part)).square().sum(dim=0, dtype=torch.float64) for part in parts)
    return mean.to(features), (squares / len(features)).sqrt().to(features)


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    total, *others = tensors
    return sum(others, total)


def _rows(width: int) -> int:
    """How many rows of so many values are looked at at a time."""
    return max(1, BLOCK // width)
