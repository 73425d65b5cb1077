"""LoRA: a low-rank update on every candidate block."""

from collections.abc import Sequence

import torch
from torch import Generator

from trainables.backbones import Backbone
from trainables.methods.low_rank import insert_blocks
from trainables.methods.method import Method, Settings


class Lora(Method):
    """Low-rank blocks that are always active (Hu et al., arXiv 2106.09685)."""

    packable = True

    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """The backbone with a low-rank block in the place of every candidate."""
        always = torch.ones(self.size, device=next(backbone.parameters()).device)
        return insert_blocks(backbone, self.blocks, members, lambda place: lambda: always, generators)
