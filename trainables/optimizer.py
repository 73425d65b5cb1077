"""AdamW and SGD over a pack: every member has its own learning rate and weight decay."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class _Packed:
    """Parameters and their moments, side by side in memory, so that one operation steps them all.

    A step of the two hundred small tensors of a pack's adapters would otherwise be two thousand operations,
    each of which takes longer to start than to run.

    Args:
        parameters: tensors with a leading pack axis of length K; any shape where K is 1.
        lr: K learning rates.
        weight_decay: K weight decays.
        moments: how many moments are kept of a parameter.
    """

    def __init__(
        self, parameters: Sequence[Tensor], lr: Sequence[float], weight_decay: Sequence[float], moments: int
    ) -> None:
        self.parameters = list(parameters)
        self.moments = [[torch.zeros_like(p) for p in self.parameters] for _ in range(moments)]
        device = self.parameters[0].device if self.parameters else None
        self._lr = torch.tensor(lr, device=device)[:, None]
        self._decay = torch.tensor(weight_decay, device=device)[:, None]
        self._places: list[int] = []
        self._joined: list[Tensor] = []

    @torch.no_grad()
    def step(self, number: int, factor: float) -> None:
        """One update of what has a gradient.

        ``number`` counts steps from 1; ``factor`` is the schedule's share of the rate.
        """
        places = [place for place, p in enumerate(self.parameters) if p.grad is not None]
        if not places:
            return
        if places != self._places:
            self._places = places
            self._joined = [
                _joined([tensors[place] for place in places], len(self._lr))
                for tensors in (self.parameters, *self.moments)
            ]
        live = [self.parameters[place] for place in places]
        gradient = torch.cat([p.grad.reshape(len(self._lr), -1) for p in live if p.grad is not None], dim=1)
        for p in live:
            p.grad = None
        self._update(gradient, number, factor, *self._joined)

    @abstractmethod
    def _update(self, gradient: Tensor, number: int, factor: float, p: Tensor, *moments: Tensor) -> None:
        """Changes parameters and moments in place, all (K, P)."""

    def state(self) -> list[Tensor]:
        """The moments, each in the order of the parameters."""
        return [tensor for moment in self.moments for tensor in moment]


def _joined(tensors: Sequence[Tensor], size: int) -> Tensor:
    """Tensors (K, ...) as one (K, P), of which they become views."""
    whole = torch.cat([tensor.reshape(size, -1) for tensor in tensors], dim=1)
    parts = whole.split([tensor.numel() // size for tensor in tensors], dim=1)
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.data = part.view(tensor.shape)
    return whole


class PackedAdamW(_Packed):
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
        super().__init__(parameters, lr, weight_decay, moments=2)

    def _update(self, gradient: Tensor, number: int, factor: float, p: Tensor, *moments: Tensor) -> None:
        first, second = moments
        lr = self._lr * factor
        first.lerp_(gradient, 1 - _BETA1)
        second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        root = (second / (1 - _BETA2**number)).sqrt_().add_(_EPSILON)
        p.mul_(1 - lr * self._decay)
        p.sub_(lr / (1 - _BETA1**number) * first / root)


class PackedSGD(_Packed):
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
        super().__init__(parameters, lr, weight_decay or [0.0] * len(lr), moments=1 if momentum else 0)
        self._momentum = momentum

    def _update(self, gradient: Tensor, number: int, factor: float, p: Tensor, *moments: Tensor) -> None:
        step = gradient + self._decay * p
        for moving in moments:
            step = moving.mul_(self._momentum).add_(step)
        p.sub_(self._lr * factor * step)
