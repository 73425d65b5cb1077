"""Selective LoRA: a price on every block's score decides which blocks adapt."""

from collections.abc import Sequence

from torch import Generator, nn

from trainables.methods.blocks import Gate, LowRankBlock
from trainables.methods.gated import GatedMethod
from trainables.sections import SelectiveLora as Settings


class SelectiveLora(GatedMethod):
    """Low-rank blocks with learnable gates (arXiv 2501.15377)."""

    members: Sequence[Settings]

    def block(
        self, linear: nn.Module, outputs: slice, gate: Gate, generators: Sequence[Generator]
    ) -> LowRankBlock:
        """A gated low-rank update."""
        return LowRankBlock(linear, outputs, gate, self.members, generators)
