"""Methods that leave the backbone as it was pre-trained."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from torch import Generator

from trainables.backbones import Backbone
from trainables.methods.method import Method
from trainables.sections import Space


class Linear(Method):
    """Trains the classification head alone (linear probing)."""

    packable = True

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
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


def untouched(space: Space, towers: Sequence[str] = ("image",), **training: Any) -> Space:
    """The space in which nothing is trained.

    Args:
        towers: whose outputs are computed anew.
        training: its settings that are others.
    """
    method = SimpleNamespace(name="zero_shot", towers=towers)
    changed = space.training.model_copy(update=training)
    return space.model_copy(update={"method": method, "training": changed})
