"""AdamW and SGD over a pack: every member has its own learning rate and weight decay."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
# Numbers that one operation steps: its temporaries are as large, too large for a whole model of 400 million.
_AT_ONCE = 2**24


@dataclass(frozen=True)
class _Run:
    """Parameters that are stepped by one operation.

    Attributes:
        live: the parameters, of which ``parameters`` is the memory.
        parameters: (K, P).
        moments: (K, P) each.
        owners: (P,), the block of each number; None without blocks.
    """

    live: list[Tensor]
    parameters: Tensor
    moments: list[Tensor]
    owners: Tensor | None

    def spread(self, values: Tensor) -> Tensor:
        """A value of each block, (K, N), as one of each number, (K, P); without blocks it stays (K, 1)."""
        return values.float() if self.owners is None else values.float().index_select(1, self.owners)


class Packed:
    """Parameters and their moments, side by side in memory, so that one operation steps many of them.

    A step of the two hundred small tensors of a pack's adapters would otherwise be two thousand operations,
    each of which takes longer to start than to run.

    A block that is closed in a member stands still there, with its moments and its count of steps, and goes
    on from them where it opens again: as torch's optimisers leave out a parameter whose gradient is None.

    Args:
        parameters: tensors with a leading pack axis of length K; any shape where K is 1.
        lr: K learning rates.
        weight_decay: K weight decays.
        moments: how many moments are kept of a parameter.
        blocks: the block of each parameter, from 0 to N - 1; None where they are of no blocks.

    Attributes:
        steps: (K, N), how many steps each block has made; (K, 1) without blocks.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: Sequence[float],
        weight_decay: Sequence[float],
        moments: int,
        blocks: Sequence[int] | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.moments = [[torch.zeros_like(p) for p in self.parameters] for _ in range(moments)]
        device = self.parameters[0].device if self.parameters else None
        # Powers of a beta near 1 lose their digits in float32.
        self._lr = torch.tensor(lr, device=device, dtype=torch.float64)[:, None]
        self._decay = torch.tensor(weight_decay, device=device, dtype=torch.float64)[:, None]
        self._blocks = blocks
        self.steps = self._lr.new_zeros(len(lr), 1 + max(blocks or [0]))
        self._moving = torch.ones_like(self._lr)  # (K, N) or (K, 1): 1 for what the step moves, else 0
        self._places: list[int] = []
        self._runs: list[_Run] = []

    @torch.no_grad()
    def step(
        self, factor: float | Tensor, is_open: Tensor | None = None, moves: Tensor | None = None
    ) -> None:
        """One update of what has a gradient, and is of an open block or of none.

        Args:
            factor: the schedule's share of the rate, () if it is a tensor.
            is_open: (K, N), 1 where a block is open, else 0; not looked at where parameters are of no blocks.
            moves: (K,), whether a member makes the step; None lets all make it.
        """
        places = [place for place, p in enumerate(self.parameters) if p.grad is not None]
        if not places:
            return
        if places != self._places:
            self._places, self._runs = places, [self._join(run) for run in self._split(places)]
        blocked = is_open if self._blocks is not None else None
        self._moving = torch.ones_like(self._lr) if blocked is None else blocked.to(self._lr)
        if moves is not None:
            self._moving = self._moving * moves[:, None]
        self.steps += self._moving
        for run in self._runs:
            self._update(run, self._gradient(run), self._lr * factor)

    def _split(self, places: list[int]) -> list[list[int]]:
        """The places in runs of at most `_AT_ONCE` numbers, or of one parameter that is larger."""
        runs: list[list[int]] = []
        total = 0
        for place in places:
            size = self.parameters[place].numel()
            if not runs or total + size > _AT_ONCE:
                runs.append([])
                total = 0
            runs[-1].append(place)
            total += size
        return runs

    def _join(self, places: list[int]) -> _Run:
        """Puts the parameters of these places, and their moments, side by side."""
        chosen = [[tensors[place] for place in places] for tensors in (self.parameters, *self.moments)]
        parameters, *moments = (_joined(tensors, len(self._lr)) for tensors in chosen)
        if self._blocks is None:
            return _Run(chosen[0], parameters, moments, None)
        sizes = torch.tensor([p[0].numel() for p in chosen[0]])
        owners = torch.tensor([self._blocks[place] for place in places]).repeat_interleave(sizes)
        return _Run(chosen[0], parameters, moments, owners.to(self._lr.device))

    def _gradient(self, run: _Run) -> Tensor:
        """The gradients of a run, (K, P), taken from its parameters."""
        gradient = torch.cat(
            [p.grad.reshape(len(self._lr), -1) for p in run.live if p.grad is not None], dim=1
        )
        for p in run.live:
            p.grad = None
        return gradient

    @abstractmethod
    def _update(self, run: _Run, gradient: Tensor, lr: Tensor) -> None:
        """Changes a run in place by its gradient (K, P), at rates (K, 1)."""

    def state(self) -> list[Tensor]:
        """The moments, each in the order of the parameters, and the counts of steps."""
        return [*(tensor for moment in self.moments for tensor in moment), self.steps]


def _joined(tensors: Sequence[Tensor], size: int) -> Tensor:
    """Tensors (K, ...) as one (K, P), of which they become views."""
    whole = torch.cat([tensor.reshape(size, -1) for tensor in tensors], dim=1)
    parts = whole.split([tensor.numel() // size for tensor in tensors], dim=1)
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.data = part.view(tensor.shape)
    return whole


class PackedAdamW(Packed):
    """`torch.optim.AdamW` with a learning rate and a weight decay for each slice of the leading axis.

    Update (Loshchilov and Hutter, 2019, algorithm 2), for member k and a block at its own step t::

        p <- p - lr_k wd_k p - lr_k (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Args: as for `Packed`.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: Sequence[float],
        weight_decay: Sequence[float],
        blocks: Sequence[int] | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, moments=2, blocks=blocks)

    def _update(self, run: _Run, gradient: Tensor, lr: Tensor) -> None:
        first, second = run.moments
        steps, moving = self.steps.clamp_min(1), run.spread(self._moving)
        first.lerp_(gradient, (1 - _BETA1) * moving)
        second.lerp_(gradient.square_(), (1 - _BETA2) * moving)
        root = second.sqrt().mul_(run.spread((1 - _BETA2**steps).rsqrt())).add_(_EPSILON)
        run.parameters.mul_(run.spread(1 - lr * self._decay * self._moving))
        run.parameters.sub_(run.spread(lr * self._moving / (1 - _BETA1**steps)) * first / root)


class PackedSGD(Packed):
    """`torch.optim.SGD` with a learning rate and a weight decay for each slice of the leading axis.

    Update for member k::

        m <- momentum m + g + wd_k p
        p <- p - lr_k m

    Args: as for `Packed`.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: Sequence[float],
        weight_decay: Sequence[float] | None = None,
        momentum: float = 0.0,
        blocks: Sequence[int] | None = None,
    ) -> None:
        decay = weight_decay or [0.0] * len(lr)
        super().__init__(parameters, lr, decay, moments=1 if momentum else 0, blocks=blocks)
        self._momentum = momentum

    def _update(self, run: _Run, gradient: Tensor, lr: Tensor) -> None:
        moving = run.spread(self._moving)
        step = gradient + self._decay.float() * run.parameters
        for moment in run.moments:
            moment.lerp_(self._momentum * moment + step, moving)
            step = moment
        run.parameters.sub_(lr.float() * moving * step)
