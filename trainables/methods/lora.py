"""LoRA: a low-rank update on every candidate block."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor

from trainables.backbones import Backbone
from trainables.methods.block_method import BlockMethod
from trainables.methods.blocks import LowRankBlock
from trainables.sections import LoraSettings


class Lora(BlockMethod):
    """Low-rank blocks that are always active (Hu et al., arXiv 2106.09685).

    Blocks may be ``q`` and ``v`` alone, as in the paper.

    Attributes:
        chosen: (K, N), 1 where a block is active: here, everywhere.
    """

    members: Sequence[LoraSettings]
    chosen: Tensor
    block: ClassVar[type[LowRankBlock]] = LowRankBlock

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """The backbone with a low-rank block in the place of every candidate."""
        chosen = self.choose(generators).to(next(backbone.parameters()).device)
        self.register_buffer("chosen", chosen, persistent=False)
        fork = self.insert(
            backbone,
            lambda linear, outputs, place: self.block(
                linear, outputs, lambda: self.chosen[:, place], self.members, generators
            ),
        )
        self.keep(chosen)
        return fork

    def choose(self, generators: Sequence[Generator]) -> Tensor:
        """(K, N), 1 where a block is active at the start."""
        return torch.ones(self.size, len(self.blocks))

    def open(self) -> Tensor:
        """(K, N), 1 where a block is active."""
        return self.chosen
