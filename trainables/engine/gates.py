"""Scores, thresholds, the indicator that opens and closes a block, and the cut to a number of open ones."""

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
        frozen: (K, N), whether a block is decided: then its score gets no gradient and has no price.
        pull: by how much a price of 1 pulls at every score: 1 / N for the mean, 1 for the sum.
    """

    threshold: Tensor
    price: Tensor
    frozen: Tensor

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
        self.register_buffer("frozen", torch.zeros(len(price), blocks, dtype=torch.bool))
        self.pull = 1 / blocks if penalty == "mean" else 1.0

    def forward(self) -> Tensor:
        """Gates (K, N), each 0 or 1."""
        return indicator(self._learning(), self.threshold)

    def penalty(self) -> Tensor:
        """(K,): lambda * mean_i |s_i|, or lambda * sum_i |s_i|."""
        return self.price * self.pull * self._learning().abs().sum(dim=1)

    def _learning(self) -> Tensor:
        return torch.where(self.frozen, self.scores.detach(), self.scores)

    @torch.no_grad()
    def cut(self, counts: Tensor) -> Tensor:
        """Lowers all scores of a member by one amount, such that its highest ones stay open.

        The amount puts the threshold midway between the last score that stays open and the first that
        closes; it is negative where blocks have to open, and zero where so many are open already. Of equal
        scores the earlier block stays open. What is closed and frozen stays so, and a count is at most as
        many as there are beside it. A GPU is not waited for.

        Args:
            counts: (K,), how many stay open; -1 leaves a member as it is.

        Returns:
            The amounts, (K,): what a price would have taken from each score.
        """
        counts, threshold, scores = counts[:, None], self.threshold, self.scores
        gone = self.frozen & (scores < threshold)
        ranked, order = scores.masked_fill(gone, -torch.inf).sort(dim=1, descending=True, stable=True)
        last, next_ = (
            ranked.gather(1, place.clamp(0, scores.shape[1] - 1)) for place in (counts - 1, counts)
        )
        edge = torch.where(next_.isinf(), last, (last + next_) / 2)
        settled = (counts < 0) | ((scores >= threshold).sum(dim=1, keepdim=True) == counts)
        amounts = torch.where(settled, 0.0, edge - threshold)
        lowered = ranked - amounts
        # Equal scores, and rounding, would leave some on the wrong side.
        stays = torch.arange(scores.shape[1], device=scores.device) < counts
        stay, close = lowered.maximum(threshold), lowered.minimum(_below(threshold))
        cut = torch.empty_like(scores).scatter(1, order, torch.where(stays, stay, close))
        scores.copy_(torch.where(gone | (counts < 0), scores, cut))
        return amounts[:, 0]

    @torch.no_grad()
    def fix(self, member: int, is_open: Tensor) -> None:
        """Opens just these blocks (N,) of a member, by scores at its threshold and below it, for good."""
        threshold = self.threshold[member, 0]
        self.scores[member] = torch.where(is_open, threshold, _below(threshold))
        self.frozen[member] = True


def _below(threshold: Tensor) -> Tensor:
    """The largest score that is not open."""
    return torch.nextafter(threshold, torch.full_like(threshold, -torch.inf))
