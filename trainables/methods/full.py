"""Full fine-tuning: every weight of a tower."""

from collections.abc import Sequence

from torch import Generator

from trainables.backbones import Backbone
from trainables.methods.method import Method


class Full(Method):
    """Trains all weights of the named towers from their pre-trained values."""

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """A fork of the backbone with weights of its own."""
        towers = getattr(self.members[0], "towers", ("image",))
        return backbone.fork([name for tower in towers for name in backbone.tower_parameters(tower)])
