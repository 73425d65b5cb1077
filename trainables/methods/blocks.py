"""Blocks: frozen linear layers with a gated update for each member of a pack."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from trainables.sections import LowRankSettings

Gate = Callable[[], Tensor]
"""Gives I(s), (K,), at every call: 1 for the members in which the block is active, else 0."""

Members = slice | Tensor
"""Which of the K members: all, as a slice, or their places."""


class Block(nn.Module):
    """y = W x + b + I(s) * update(x)

    Args:
        linear: the frozen layer, in -> out; or another block of it.
        outputs: which of the outputs the update changes.
        gate: see `Gate`.
        size: K.
    """

    def __init__(self, linear: nn.Module, outputs: slice, gate: Gate, size: int) -> None:
        super().__init__()
        assert isinstance(linear, nn.Linear | Block)
        self.linear = linear
        self.outputs = outputs
        self.gate = gate
        self.size = size
        self.in_features: int = linear.in_features
        self.out_features: int = linear.out_features
        self.changed_features = len(range(self.out_features)[outputs])
        self._places: dict[tuple[int, ...], Tensor] = {}
        self.arrange(range(size), range(size))

    def arrange(self, present: Sequence[int], kept: Collection[int]) -> None:
        """Says of which members the rows are, in order, and in which of them the block may be active.

        In the others it costs nothing.
        """
        self.present = len(present)
        adapted = tuple(k for k in present if k in kept)
        rows = tuple(row for row, k in enumerate(present) if k in kept)
        self.members: Members | None = self._on_device(adapted) if adapted else None
        self.rows = None if len(adapted) == len(present) else self._on_device(rows)
        if adapted == tuple(range(self.size)):
            self.members = slice(None)

    def _on_device(self, places: tuple[int, ...]) -> Tensor:
        """As a tensor that stays: a recorded step looks at it again."""
        if places not in self._places:
            # What is arranged while measuring is trained with later.
            with torch.inference_mode(False):
                self._places[places] = torch.tensor(places, device=self.weight.device)
        return self._places[places]

    @property
    def weight(self) -> Tensor:
        """W, (out, in), as pre-trained."""
        weight: Tensor = self.linear.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """b, (out,), as pre-trained."""
        bias: Tensor | None = self.linear.bias
        return bias

    @abstractmethod
    def adapt(self, frozen: Tensor, x: Tensor, members: Members) -> Tensor:
        """The layer's changed outputs with the gated update.

        (P, M, changed), from ``frozen`` (P, M, changed) and x (P, M, in) of the P ``members``.
        """

    @abstractmethod
    def matrices(self) -> Tensor:
        """The updates as matrices (K, changed, in), not gated."""

    @abstractmethod
    def trained_parameters(self) -> list[int]:
        """Number of weights that each member trains here."""

    def forward(self, x: Tensor) -> Tensor:
        """(P * N, ..., in) -> (P * N, ..., out), of the P members that are present."""
        x = _as_the_pass(x)
        frozen: Tensor = self.linear(x)
        if self.members is None:
            return frozen
        if self.rows is None:
            return self._adapted(frozen, x, self.members)
        parts, whole = x.unflatten(0, (self.present, -1)), frozen.unflatten(0, (self.present, -1))
        adapted = self._adapted(whole[self.rows].flatten(0, 1), parts[self.rows].flatten(0, 1), self.members)
        every: Tensor = whole.index_copy(0, self.rows, adapted.unflatten(0, (len(self.rows), -1)))
        return every.flatten(0, 1)

    def _adapted(self, frozen: Tensor, x: Tensor, members: Members) -> Tensor:
        """The frozen outputs (P * N, ..., out) of x (P * N, ..., in), with the update."""
        size = self.size if isinstance(members, slice) else len(members)
        # In the layer's own precision: a wider update would let what follows round otherwise.
        rows, outputs = (
            x.reshape(size, -1, self.in_features).to(frozen.dtype),
            frozen.view(size, -1, self.out_features),
        )
        if self.changed_features == self.out_features:
            return self.adapt(outputs, rows, members).view(frozen.shape)
        first, last = self.outputs.start, self.outputs.stop
        changed = self.adapt(outputs[..., first:last], rows, members)
        return torch.cat([outputs[..., :first], changed, outputs[..., last:]], dim=-1).view(frozen.shape)

    @torch.no_grad()
    def merged(self, member: int) -> nn.Linear:
        """The layer with one member's update in its weights."""
        inner = self.linear.merged(member) if isinstance(self.linear, Block) else copy.deepcopy(self.linear)
        inner.weight = nn.Parameter(inner.weight.clone(), requires_grad=False)
        if self.gate()[member]:
            inner.weight[self.outputs] += self.matrices()[member]
        return inner


def _as_the_pass(x: Tensor) -> Tensor:
    """In the precision of the pass; the layer and its update would each see to it, and to its gradient."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def _of(tensor: Tensor, members: Members) -> Tensor:
    """The members' part of a tensor (K, ...). A slice of all would copy the gradient."""
    return tensor if isinstance(members, slice) else tensor[members]


class _LowRank(torch.autograd.Function):
    """frozen + x A^T B^T, from frozen (P, M, out), x (P, M, in), A (P, r, in) and B (P, out, r).

    The same products as autograd's, but no sum of its own for what is added, and written such that the short
    side is the rows of a result: on processors up to four times as fast for a rank of 8.
    """

    @staticmethod
    def forward(ctx: Any, frozen: Tensor, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        low = torch.bmm(x, down.mT)
        ctx.save_for_backward(x, down, up, low)
        return torch.baddbmm(frozen, low, up.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, down, up, low = ctx.saved_tensors
        (grad,) = grads
        of_low = torch.bmm(up.mT, grad.mT)
        return grad, torch.bmm(of_low.mT, down), torch.bmm(of_low, x), torch.bmm(low.mT, grad).mT


class _AdaptedLinear(torch.autograd.Function):
    """x W^T + b + x A^T B^T, (P * N, ..., in) -> (P * N, ..., out), with W and b frozen.

    As `_LowRank` on the frozen outputs, but the update is added in their place, and so is its gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor) -> Tensor:
        weight = weight.to(x.dtype)
        rows = x.reshape(len(down), -1, x.shape[-1])
        low = torch.bmm(rows, down.mT)
        adapted = nn.functional.linear(x, weight, None if bias is None else bias.to(x.dtype))
        adapted.view(len(down), -1, len(weight)).baddbmm_(low, up.mT)
        ctx.save_for_backward(rows, weight, down, up, low)
        return adapted

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, low = ctx.saved_tensors
        of_x, whole = None, grads[0].contiguous()
        grad = whole.view(len(down), -1, len(weight))
        of_low = torch.bmm(up.mT, grad.mT)
        if ctx.needs_input_grad[0]:
            of_x = whole @ weight
            of_x.view(rows.shape).baddbmm_(of_low.mT, down)
        return of_x, None, None, torch.bmm(of_low, rows), torch.bmm(low.mT, grad).mT


class LowRankBlock(Block):
    """y = W x + b + I(s) * (alpha / r) * B A x        (arXiv 2106.09685; gate: arXiv 2501.15377)

    Members have ranks of their own: A and B are padded to the largest, and the padding is masked.

    Attributes:
        down: A, (K, r, in), uniform in +-1 / sqrt(in), as peft initialises it.
        up: B, (K, changed, r), zero, so that the block starts as the frozen layer.
        scale: (K, r), alpha / r on the ranks that a member has and 0 on its padding.
    """

    scale: Tensor

    def __init__(
        self,
        linear: nn.Module,
        outputs: slice,
        gate: Gate,
        members: Sequence[LowRankSettings],
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(linear, outputs, gate, len(members))
        self.ranks = [settings.rank for settings in members]
        scale = torch.zeros(self.size, max(self.ranks))
        for k, settings in enumerate(members):
            rank = settings.rank
            scale[k, :rank] = float(settings.alpha or rank) / rank
        device = self.weight.device
        self.register_buffer("scale", scale.to(device))
        self.down = nn.Parameter(torch.empty(self.size, max(self.ranks), self.in_features, device=device))
        self.up = nn.Parameter(torch.empty(self.size, self.changed_features, max(self.ranks), device=device))
        self.reset(generators)

    @torch.no_grad()
    def reset(self, generators: Sequence[Generator]) -> None:
        """Draws A, and makes B zero."""
        bound = 1 / math.sqrt(self.in_features)
        down = torch.zeros(self.down.shape)
        for k, (rank, generator) in enumerate(zip(self.ranks, generators, strict=True)):
            down[k, :rank].uniform_(-bound, bound, generator=generator)
        self.down.copy_(down)
        self.up.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """As `Block.forward`; in one go where all rows and outputs of a plain layer are changed."""
        if self.members is None or self.rows is not None or not self._plain:
            return super().forward(x)
        x = _as_the_pass(x)
        factors = self._scaled(self.members, x.dtype)
        adapted: Tensor = _AdaptedLinear.apply(x, self.weight, self.bias, *factors)
        return adapted

    @property
    def _plain(self) -> bool:
        return type(self.linear) is nn.Linear and self.changed_features == self.out_features

    def adapt(self, frozen: Tensor, x: Tensor, members: Members) -> Tensor:
        """frozen + I(s) * (alpha / r) * B A x."""
        adapted: Tensor = _LowRank.apply(frozen, x, *self._scaled(members, x.dtype))
        return adapted

    def _scaled(self, members: Members, precision: torch.dtype) -> tuple[Tensor, Tensor]:
        """I(s) * (alpha / r) * A, and B."""
        scale, (down, up) = self.gate()[:, None] * self.scale, self.factors()
        return _of(scale[:, :, None] * down, members).to(precision), _of(up, members).to(precision)

    def factors(self) -> tuple[Tensor, Tensor]:
        """A (K, r, in) and B (K, changed, r), as they change the layer."""
        return self.down, self.up

    def written(self) -> tuple[Tensor, Tensor]:
        """A (r, in) and B (changed, r) of a pack's only member, without ranks that change nothing."""
        down, up = (factor[0] for factor in self.factors())
        held = down.any(dim=1)
        return down[held], up[:, held]

    def matrices(self) -> Tensor:
        """(alpha / r) * B A."""
        down, up = self.factors()
        return up * self.scale[:, None, :] @ down

    def trained_parameters(self) -> list[int]:
        """r (in + changed)."""
        return [rank * (self.in_features + self.changed_features) for rank in self.ranks]


class FullRankBlock(Block):
    """y = W x + b + I(s) * D x        (TAPS, CVPR 2022, equation 2: w = w0 + I(s) * delta)

    Attributes:
        delta: D, (K, changed, in), zero, so that the block starts as the frozen layer.
    """

    def __init__(self, linear: nn.Module, outputs: slice, gate: Gate, size: int) -> None:
        super().__init__(linear, outputs, gate, size)
        shape = (size, self.changed_features, self.in_features)
        self.delta = nn.Parameter(torch.zeros(shape, device=self.weight.device))

    def adapt(self, frozen: Tensor, x: Tensor, members: Members) -> Tensor:
        """frozen + I(s) * D x."""
        delta = self.gate()[members, None, None] * _of(self.delta, members)
        return torch.baddbmm(frozen, x, delta.to(x.dtype).mT)

    def matrices(self) -> Tensor:
        """D."""
        return self.delta

    def trained_parameters(self) -> list[int]:
        """in * changed."""
        return [self.delta[0].numel()] * self.size
