"""Scores, thresholds and the indicator that opens and closes a block."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

Penalty = Literal["mean", "sum"]


class _Indicator(torch.autograd.Function):
    """I(s) = 1 if s >= threshold else 0; its gradient is taken as the identity (straight-through)."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, threshold: Tensor) -> Tensor:
        return (scores >= threshold).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def indicator(scores: Tensor, threshold: Tensor) -> Tensor:
    """1 where a score reaches its threshold, else 0, with a straight-through gradient.

    Source: selective LoRA (arXiv 2501.15377), after TAPS (CVPR 2022).
    """
    result: Tensor = _Indicator.apply(scores, threshold)
    return result


class Gates(nn.Module):
    """One learnable score for each of N blocks, for each of K pack members.

    Attributes:
        scores: (K, N), trained.
        threshold: (K, 1), tau.
        price: (K,), lambda.
    """

    threshold: Tensor
    price: Tensor

    def __init__(
        self,
        blocks: int,
        initial: Sequence[float],
        threshold: Sequence[float],
        price: Sequence[float],
        penalty: Penalty,
    ) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(initial)[:, None].repeat(1, blocks))
        self.register_buffer("threshold", torch.tensor(threshold)[:, None])
        self.register_buffer("price", torch.tensor(price))
        self._reduce = torch.mean if penalty == "mean" else torch.sum

    def forward(self) -> Tensor:
        """Gates (K, N), each 0 or 1."""
        return indicator(self.scores, self.threshold)

    def penalty(self) -> Tensor:
        """(K,): lambda * mean_i |s_i|, or lambda * sum_i |s_i|."""
        return self.price * self._reduce(self.scores.abs(), dim=1)
