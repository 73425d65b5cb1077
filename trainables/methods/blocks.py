"""Blocks: frozen linear layers with a gated update for each member of a pack."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from trainables.methods.method import Settings

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
        own = tuple(k for k in present if k in kept)
        rows = tuple(row for row, k in enumerate(present) if k in kept)
        self.members: Members | None = self._on_device(own) if own else None
        self.rows = None if len(own) == len(present) else self._on_device(rows)
        if own == tuple(range(self.size)):
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
    def update(self, x: Tensor, members: Members) -> Tensor:
        """What is added to the layer's changed outputs, gated.

        (P, M, in) -> (P, M, changed), for the P ``members`` that x has rows of.
        """

    @abstractmethod
    def matrices(self) -> Tensor:
        """The updates as matrices (K, changed, in), not gated."""

    @abstractmethod
    def trained_parameters(self) -> list[int]:
        """Number of weights that each member trains here."""

    def forward(self, x: Tensor) -> Tensor:
        """(P * N, ..., in) -> (P * N, ..., out), of the P members that are present."""
        frozen: Tensor = self.linear(x)
        if self.members is None:
            return frozen
        if self.rows is None:
            return frozen + self._change(x, frozen, self.members)
        parts, whole = x.unflatten(0, (self.present, -1)), frozen.unflatten(0, (self.present, -1))
        change = self._change(parts[self.rows].flatten(0, 1), whole[self.rows].flatten(0, 1), self.members)
        added: Tensor = whole.index_add(0, self.rows, change.unflatten(0, (len(self.rows), -1)))
        return added.flatten(0, 1)

    def _change(self, x: Tensor, frozen: Tensor, members: Members) -> Tensor:
        """What is added to the frozen outputs (P * N, ..., out) of x (P * N, ..., in)."""
        size = self.size if isinstance(members, slice) else len(members)
        # In the layer's own precision: under autocast, a wider update would let what follows round otherwise.
        rows = x.reshape(size, -1, self.in_features).to(frozen.dtype)
        update = self.update(rows, members).to(frozen.dtype).view(*frozen.shape[:-1], self.changed_features)
        if self.changed_features == self.out_features:
            return update
        before, after = self.outputs.start, self.out_features - self.outputs.stop
        return nn.functional.pad(update, (before, after))

    @torch.no_grad()
    def merged(self, member: int) -> nn.Linear:
        """The layer with one member's update in its weights."""
        inner = self.linear.merged(member) if isinstance(self.linear, Block) else copy.deepcopy(self.linear)
        inner.weight = nn.Parameter(inner.weight.clone(), requires_grad=False)
        if self.gate()[member]:
            inner.weight[self.outputs] += self.matrices()[member]
        return inner


def _of(tensor: Tensor, members: Members) -> Tensor:
    """The members' part of a tensor (K, ...). A slice of all would copy the gradient."""
    return tensor if isinstance(members, slice) else tensor[members]


class _Product(torch.autograd.Function):
    """x W^T, (P, M, in) and (P, out, in) -> (P, M, out), with gradients that are fast where a side is a rank.

    The same products as autograd's, written such that the short side is the rows of the result: on processors
    up to four times as fast for a rank of 8.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        if x.shape[-1] < grad.shape[-1]:
            return torch.bmm(weight.mT, grad.mT).mT, torch.bmm(x.mT, grad).mT
        return torch.bmm(grad, weight), torch.bmm(grad.mT, x)


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
        members: Sequence[Settings],
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(linear, outputs, gate, len(members))
        self.ranks = [settings["rank"] for settings in members]
        scale = torch.zeros(self.size, max(self.ranks))
        for k, settings in enumerate(members):
            rank = settings["rank"]
            scale[k, :rank] = float(settings["alpha"] or rank) / rank
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

    def update(self, x: Tensor, members: Members) -> Tensor:
        """I(s) * (alpha / r) * B A x."""
        scale = (self.gate()[:, None] * self.scale)[members, None, :]
        low: Tensor = _Product.apply(x, _of(self.down, members).to(x.dtype))
        product: Tensor = _Product.apply((low * scale).to(x.dtype), _of(self.up, members).to(x.dtype))
        return product

    def matrices(self) -> Tensor:
        """(alpha / r) * B A."""
        return self.up * self.scale[:, None, :] @ self.down

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

    def update(self, x: Tensor, members: Members) -> Tensor:
        """I(s) * D x."""
        return self.gate()[members, None, None] * (x @ _of(self.delta, members).mT)

    def matrices(self) -> Tensor:
        """D."""
        return self.delta

    def trained_parameters(self) -> list[int]:
        """in * changed."""
        return [self.delta[0].numel()] * self.size
