"""Methods that leave the backbone as it was pre-trained."""

from collections.abc import Sequence

from torch import Generator

from trainables.backbones import Backbone
from trainables.methods.method import Method, Settings


class Linear(Method):
    """Trains the classification head alone (linear probing)."""

    packable = True

    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """The backbone itself."""
        return backbone

    def frozen_layers(self) -> list[int]:
        """All."""
        return [self.backbone.depth("image")] * self.size

    def active_blocks(self) -> list[tuple[str, ...]]:
        """None: no block is changed."""
        return [()] * self.size


class ZeroShot(Linear):
    """Trains nothing: the pre-trained model with its own head from class prompts."""

    trains_head = False
