"""Methods that put a block in the place of every candidate layer."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.backbones import Backbone
from trainables.methods.blocks import Block
from trainables.methods.method import Method


class BlockMethod(Method):
    """A method that puts a block in the place of every candidate layer.

    Attributes:
        placed: the blocks, in the order of their names.
    """

    packable = True
    placed: Sequence[Block]

    def insert(self, backbone: Backbone, make: Callable[[nn.Module, slice, int], Block]) -> Backbone:
        """A fork with a block for each name; ``make`` gives one from a layer, its outputs and its place."""
        fork = backbone.fork()
        self._depth = fork.depth("image")
        self._layers = [_image_layer(name) for name in self.blocks]
        placed: list[Block] = []
        for place, name in enumerate(self.blocks):
            path = fork.linears[name]
            block = make(fork.get_submodule(path), backbone.outputs(name), place)
            fork.set_submodule(path, block)
            placed.append(block)
        self.placed = placed
        self.keep(torch.ones(self.size, len(self.blocks)))
        return fork

    def keep(self, kept: Tensor) -> None:
        """Leaves out of every block the members in which it is closed for good: 0 in ``kept``, (K, N)."""
        # A copy, here: a method's own tensor may change, and a GPU is not asked again.
        self._kept = kept.cpu().clone()
        self._course = tuple(self._kept.flatten().tolist())
        self._frozen = self._first_layers(self._kept)
        self._groups: Sequence[tuple[int, Sequence[int]]] = []

    def course(self, epoch: int) -> Hashable:
        """Which blocks are closed for good."""
        return self._course

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Closed blocks are left out, also those that training may open again."""
        kept = self._kept
        self.keep(self.open())
        try:
            yield
        finally:
            self.keep(kept)

    @contextmanager
    def entered(self, groups: Sequence[tuple[int, Sequence[int]]]) -> Iterator[None]:
        """As `Method.entered`: every block knows which members have entered before it."""
        if groups != self._groups:
            self._arrange(groups)
        yield

    def _arrange(self, groups: Sequence[tuple[int, Sequence[int]]]) -> None:
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

    def block_places(self) -> dict[int, int]:
        """The place of every update's block."""
        return {id(p): n for n, block in enumerate(self.placed) for p in block.parameters(recurse=False)}

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
