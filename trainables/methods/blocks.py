"""Blocks: frozen linear layers with a gated update for each member of a pack."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
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

    Attributes:
        members: places of the members in which the block may be active, in order; None for all. What is
            left out costs nothing.
    """

    def __init__(self, linear: nn.Module, outputs: slice, gate: Gate, size: int) -> None:
        super().__init__()
        assert isinstance(linear, nn.Linear | Block)
        self.linear = linear
        self.outputs = outputs
        self.gate = gate
        self.size = size
        self.members: list[int] | None = None
        self.in_features: int = linear.in_features
        self.out_features: int = linear.out_features
        self.changed_features = len(range(self.out_features)[outputs])

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
        """(K * N, ..., in) -> (K * N, ..., out)."""
        frozen: Tensor = self.linear(x)
        if self.members is None:
            return frozen + self._change(x, frozen, slice(None))
        if not self.members:
            return frozen
        rows = torch.tensor(self.members, device=x.device)
        parts, whole = x.unflatten(0, (self.size, -1)), frozen.unflatten(0, (self.size, -1))
        change = self._change(parts[rows].flatten(0, 1), whole[rows].flatten(0, 1), rows)
        added: Tensor = whole.index_add(0, rows, change.unflatten(0, (len(rows), -1)))
        return added.flatten(0, 1)

    def _change(self, x: Tensor, frozen: Tensor, members: Members) -> Tensor:
        """What is added to the frozen outputs (P * N, ..., out) of x (P * N, ..., in)."""
        size = self.size if isinstance(members, slice) else len(members)
        # In the layer's own precision: under autocast, a wider update would let what follows round otherwise.
        update = self.update(x.reshape(size, -1, self.in_features), members).to(frozen.dtype)
        update = update.view(*frozen.shape[:-1], self.changed_features)
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
        return (x @ self.down[members].mT * scale) @ self.up[members].mT

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
        return self.gate()[members, None, None] * (x @ self.delta[members].mT)

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
        self.placed: list[Block] = []
        for place, name in enumerate(self.blocks):
            path = fork.linears[name]
            block = make(fork.get_submodule(path), backbone.outputs(name), place)
            fork.set_submodule(path, block)
            self.placed.append(block)
        return fork

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
