"""Top-k: the last k transformer layers."""

from collections.abc import Sequence

from torch import Generator

from trainables.backbones import Backbone
from trainables.methods.method import Method
from trainables.sections import LayersSettings


class TopK(Method):
    """Trains all weights of the last ``layers`` transformer layers of the image tower."""

    members: Sequence[LayersSettings]

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """A fork of the backbone in which these layers have weights of their own."""
        depth = backbone.depth("image")
        chosen = [str(layer) for layer in range(max(0, depth - self.members[0].layers), depth)]
        self._active = tuple(name for name in self.blocks if name.split(".")[1] in chosen)
        paths = tuple(f"{backbone.layers['image']}.{layer}." for layer in chosen)
        return backbone.fork([name for name, _ in backbone.named_parameters() if name.startswith(paths)])

    def frozen_layers(self) -> list[int]:
        """All but the last."""
        return [max(0, self.backbone.depth("image") - self.members[0].layers)]

    def active_blocks(self) -> list[tuple[str, ...]]:
        """The blocks of these layers."""
        return [self._active]
