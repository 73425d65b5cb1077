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
        live: the parameters.
        moments: (K, P) each.
        owners: (P,), the block of each number; None without blocks.
    """

    live: list[Tensor]
    moments: list[Tensor]
    owners: Tensor | None

    def spread(self, values: Tensor) -> Tensor:
        """A value of each block, (K, N), as one of each number, (K, P); without blocks it stays (K, 1)."""
        return values.float() if self.owners is None else values.float().index_select(1, self.owners)

    def put(self, values: Tensor) -> None:
        """Gives the parameters their values (K, P)."""
        torch._foreach_copy_(self.live, _apart(values, self.live))


class Packed:
    """Many parameters that one operation steps, side by side for as long as a step lasts; their moments stay.

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
            gradient = _side_by_side([p.grad for p in run.live if p.grad is not None], len(self._lr))
            for p in run.live:
                p.grad = None
            parameters = _side_by_side(run.live, len(self._lr))
            run.put(self._updated(run, parameters, gradient, self._lr * factor))

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
        """The parameters of these places, whose moments are parts of one tensor from now on."""
        live = [self.parameters[place] for place in places]
        moments = []
        for each in self.moments:
            whole = _side_by_side([each[place] for place in places], len(self._lr))
            moments.append(whole)
            for place, part in zip(places, _apart(whole, live), strict=True):
                each[place] = part
        if self._blocks is None:
            return _Run(live, moments, None)
        sizes = torch.tensor([p[0].numel() for p in live])
        owners = torch.tensor([self._blocks[place] for place in places]).repeat_interleave(sizes)
        return _Run(live, moments, owners.to(self._lr.device))

    @abstractmethod
    def _updated(self, run: _Run, parameters: Tensor, gradient: Tensor, lr: Tensor) -> Tensor:
        """A run's parameters (K, P), which may be overwritten, after a step by a gradient (K, P).

        Its moments change in place; the rates are (K, 1).
        """

    def state(self) -> list[Tensor]:
        """The moments, each in the order of the parameters, and the counts of steps."""
        return [*(tensor for moment in self.moments for tensor in moment), self.steps]


def _side_by_side(tensors: Sequence[Tensor], size: int) -> Tensor:
    """Tensors (K, ...) as a new one, (K, P)."""
    return torch.cat([tensor.reshape(size, -1) for tensor in tensors], dim=1)


def _apart(whole: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The parts of a tensor (K, P) in the shapes (K, ...) of others; they share its memory."""
    parts = whole.split([tensor.numel() // len(whole) for tensor in like], dim=1)
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


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

    def _updated(self, run: _Run, parameters: Tensor, gradient: Tensor, lr: Tensor) -> Tensor:
        first, second = run.moments
        steps, moving = self.steps.clamp_min(1), run.spread(self._moving)
        first.lerp_(gradient, (1 - _BETA1) * moving)
        second.lerp_(gradient.square_(), (1 - _BETA2) * moving)
        root = second.sqrt().mul_(run.spread((1 - _BETA2**steps).rsqrt())).add_(_EPSILON)
        parameters.mul_(run.spread(1 - lr * self._decay * self._moving))
        return parameters.sub_(run.spread(lr * self._moving / (1 - _BETA1**steps)) * first / root)


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

    def _updated(self, run: _Run, parameters: Tensor, gradient: Tensor, lr: Tensor) -> Tensor:
        moving = run.spread(self._moving)
        step = gradient + self._decay.float() * parameters
        for moment in run.moments:
            moment.lerp_(self._momentum * moment + step, moving)
            step = moment
        return parameters.sub_(lr.float() * moving * step)
