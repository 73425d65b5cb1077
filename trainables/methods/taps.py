"""TAPS: a full-rank residual on every layer that pays its price."""

from collections.abc import Sequence

from torch import Generator, nn

from trainables.methods.blocks import FullRankBlock, Gate
from trainables.methods.gated import GatedMethod


class Taps(GatedMethod):
    """w = w0 + I(s) * delta with learnable gates (Wallingford et al., CVPR 2022, equations 2 to 5)."""

    def block(
        self, linear: nn.Module, outputs: slice, gate: Gate, generators: Sequence[Generator]
    ) -> FullRankBlock:
        """A gated residual of the layer's own shape."""
        return FullRankBlock(linear, outputs, gate, self.size)
