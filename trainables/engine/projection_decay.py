"""Selective projection decay: weights are held where a step leads away although descent leads back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class ProjectionDecay:
    """Shortens the way of weights w from where they began, w0.

    For each tensor of each member, which a step by the gradient g moves to w'::

        if g . (w - w0) > 0:  w' <- w' - strength r (w' - w0)

    with r = max(0, |w' - w0| - |w - w0|) / |w' - w0|.

    With a strength of 1 such a step ends no further from w0 than it began. Source: SPD (arXiv 2411.01713).

    Args:
        weights: with a leading pack axis of length K; any shape where K is 1.
        strength: of each member; 0 for none.
        from_zero: whether the weights are new ones that began at zero; else they begin where they are.
    """

    def __init__(self, weights: Sequence[Tensor], strength: Sequence[float], from_zero: bool) -> None:
        held = weights if any(strength) else []
        self._held = [(w, w.new_zeros(()) if from_zero else w.detach().clone()) for w in held]
        self._size = len(strength)
        self._strength = torch.tensor(strength, device=weights[0].device if weights else None)

    @contextmanager
    def step(self) -> Iterator[None]:
        """While it lasts, optimisers move the weights by their gradients."""
        before = [(w, start, *self._course(w, start)) for w, start in self._held if w.grad is not None]
        yield
        for w, start, leads_back, was in before:
            self._hold(w, start, leads_back, was)

    @torch.no_grad()
    def _course(self, weight: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Whether g . (w - w0) > 0, and |w - w0|, (K,) each."""
        assert weight.grad is not None
        away = self._rows(weight - start)
        return (away * self._rows(weight.grad)).sum(dim=1) > 0, away.norm(dim=1)

    @torch.no_grad()
    def _hold(self, weight: Tensor, start: Tensor, leads_back: Tensor, was: Tensor) -> None:
        away = self._rows(weight - start)
        ratio = torch.nan_to_num(1 - was / away.norm(dim=1)).clamp_min(0)
        share = self._strength * leads_back * ratio
        weight.sub_((share[:, None] * away).view_as(weight))

    def _rows(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(self._size, -1)
