"""AdamW and SGD over a pack: every member has its own learning rate and weight decay."""

from collections.abc import Sequence

import torch
from torch import Tensor

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class PackedAdamW:
    """`torch.optim.AdamW` with a learning rate and a weight decay for each slice of the leading axis.

    Update (Loshchilov and Hutter, 2019, algorithm 2), for member k at step t::

        p <- p - lr_k wd_k p - lr_k (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        parameters: tensors with a leading pack axis of length K; any shape where K is 1.
        lr: K learning rates.
        weight_decay: K weight decays.
    """

    def __init__(
        self, parameters: Sequence[Tensor], lr: Sequence[float], weight_decay: Sequence[float]
    ) -> None:
        self.parameters = list(parameters)
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        device = self.parameters[0].device if self.parameters else None
        self._lr = torch.tensor(lr, device=device)
        self._decay = torch.tensor(weight_decay, device=device)

    @torch.no_grad()
    def step(self, number: int, factor: float) -> None:
        """One update. ``number`` counts steps from 1; ``factor`` is the schedule's share of the rate."""
        correction1, correction2 = 1 - _BETA1**number, 1 - _BETA2**number
        for p, m, v in zip(self.parameters, self.first, self.second, strict=True):
            if p.grad is None:
                continue
            axes = (-1, *(1,) * (p.dim() - 1))
            lr, decay = self._lr.view(axes) * factor, self._decay.view(axes)
            m.lerp_(p.grad, 1 - _BETA1)
            v.mul_(_BETA2).addcmul_(p.grad, p.grad, value=1 - _BETA2)
            p.mul_(1 - lr * decay)
            p.sub_(lr / correction1 * m / ((v / correction2).sqrt_().add_(_EPSILON)))
            p.grad = None

    def state(self) -> list[Tensor]:
        """First and second moments, in the order of the parameters."""
        return [*self.first, *self.second]


class PackedSGD:
    """`torch.optim.SGD` with a learning rate and a weight decay for each slice of the leading axis.

    Update for member k::

        m <- momentum m + g + wd_k p
        p <- p - lr_k m
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: Sequence[float],
        weight_decay: Sequence[float] | None = None,
        momentum: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.momentum = momentum
        self.moving = [torch.zeros_like(p) for p in self.parameters] if momentum else []
        device = self.parameters[0].device if self.parameters else None
        self._lr = torch.tensor(lr, device=device)
        self._decay = torch.tensor(weight_decay or [0.0] * len(lr), device=device)

    @torch.no_grad()
    def step(self, number: int, factor: float) -> None:
        """One update. ``number`` is not used; ``factor`` is the schedule's share of the rate."""
        for place, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            axes = (-1, *(1,) * (p.dim() - 1))
            step = p.grad + self._decay.view(axes) * p
            if self.momentum:
                step = self.moving[place].mul_(self.momentum).add_(step)
            p.sub_(self._lr.view(axes) * factor * step)
            p.grad = None

    def state(self) -> list[Tensor]:
        """The moving averages, in the order of the parameters; nothing without momentum."""
        return self.moving
