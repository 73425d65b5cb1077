"""Blocks: frozen linear layers with a gated update for each member of a pack."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.backbones.stages import Entry
from trainables.methods.method import Method, Settings

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
        self.arrange(range(size), range(size))

    def arrange(self, present: Sequence[int], kept: Collection[int]) -> None:
        """Says of which members the rows are, in order, and in which of them the block may be active.

        In the others it costs nothing.
        """
        self.present = len(present)
        own = [k for k in present if k in kept]
        rows = [row for row, k in enumerate(present) if k in kept]
        # What is arranged while measuring is trained with later.
        with torch.inference_mode(False):
            self.members: Members | None = torch.tensor(own, device=self.weight.device) if own else None
            self.rows = None if len(own) == len(present) else torch.tensor(rows, device=self.weight.device)
        if own == list(range(self.size)):
            self.members = slice(None)

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


class BlockMethod(Method):
    """A method that puts a block in the place of every candidate layer."""

    packable = True

    def insert(self, backbone: Backbone, make: Callable[[nn.Module, slice, int], Block]) -> Backbone:
        """A fork with a block for each name; ``make`` gives one from a layer, its outputs and its place."""
        fork = backbone.fork()
        self._depth = fork.depth("image")
        self._layers = [_image_layer(name) for name in self.blocks]
        self.placed: list[Block] = []
        for place, name in enumerate(self.blocks):
            path = fork.linears[name]
            block = make(fork.get_submodule(path), backbone.outputs(name), place)
            fork.set_submodule(path, block)
            self.placed.append(block)
        self.keep(torch.ones(self.size, len(self.blocks)))
        return fork

    def keep(self, kept: Tensor) -> None:
        """Leaves out of every block the members in which it is closed for good: 0 in ``kept``, (K, N)."""
        # A copy, here: a method's own tensor may change, and a GPU is not asked again.
        self._kept = kept.cpu().clone()
        self._frozen = self._first_layers(self._kept)
        self._groups: list[tuple[int, list[int]]] = []

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Closed blocks are left out, also those that training may open again."""
        kept = self._kept
        self.keep(self.open())
        try:
            yield
        finally:
            self.keep(kept)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (K * N, D) of pixels (K * N, 3, H, W) from 0 to 255, the members one after the other."""
        return self.finish([Entry(0, pixels)], [range(self.size)])

    def finish(self, entries: Sequence[Entry], groups: Sequence[Sequence[int]]) -> Tensor:
        """Features (K * N, D), the members one after the other, of rows that skip layers."""
        entered = [(entry.layer, list(group)) for entry, group in zip(entries, groups, strict=True)]
        if entered != self._groups:
            self._arrange(entered)
        return super().finish(entries, groups)

    def _arrange(self, groups: list[tuple[int, list[int]]]) -> None:
        """Tells every block of the image tower which members have entered before it."""
        self._groups = groups
        for block, layer, row in zip(self.placed, self._layers, self._kept.T.tolist(), strict=True):
            kept = [k for k, is_kept in enumerate(row) if is_kept]
            entered = [k for first, group in groups if layer is not None and first <= layer for k in group]
            block.arrange(range(self.size) if layer is None else entered, kept)

    def frozen_layers(self) -> list[int]:
        """Those before the first block that is not closed for good."""
        return self._frozen

    def _first_layers(self, flags: Tensor) -> list[int]:
        """For each member, the layer of the image tower's first block with a flag of (K, N)."""
        return [
            min(
                (n for n, flag in zip(self._layers, row, strict=True) if flag and n is not None),
                default=self._depth,
            )
            for row in flags.bool().tolist()
        ]

    @abstractmethod
    def open(self) -> Tensor:
        """(K, N), 1 where a block is active."""

    def active_blocks(self) -> list[tuple[str, ...]]:
        """Names of each member's blocks whose gate is open."""
        return [
            tuple(name for name, is_open in zip(self.blocks, row, strict=True) if is_open)
            for row in self.open().bool().tolist()
        ]

    def trained_parameters(self) -> list[int]:
        """Number of weights in each member's active blocks."""
        counts = [block.trained_parameters() for block in self.placed]
        return [
            sum(count[k] for count, is_open in zip(counts, row, strict=True) if is_open)
            for k, row in enumerate(self.open().bool().tolist())
        ]

    def updates(self) -> dict[str, nn.Parameter]:
        """B of every low-rank block (its A stays), D of every full-rank block."""
        return {
            name: p
            for name, p in self.backbone.named_parameters()
            if p.requires_grad and not name.endswith(".down")
        }

    def merged(self, member: int) -> Backbone:
        """One member as a plain backbone: linear layers again, with the updates in their weights."""
        plain = self.backbone.fork()
        for path in dict.fromkeys(plain.linears[name] for name in self.blocks):
            block = plain.get_submodule(path)
            assert isinstance(block, Block)
            plain.set_submodule(path, block.merged(member))
        return plain


def _image_layer(block: str) -> int | None:
    """The transformer layer of a block of the image tower; None for another tower's."""
    tower, layer, _ = block.split(".")
    return int(layer) if tower == "image" else None
