"""What every way of adapting a backbone offers."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from trainables.backbones import KINDS, Backbone
from trainables.optimizer import PackedSGD

Settings = Mapping[str, Any]


class Method(nn.Module):
    """A pack of K adapted models over one frozen backbone.

    Every trained tensor has a leading pack axis of length K. A method that trains the backbone's own
    weights cannot share them, has no such axis, and is not packable.

    Args:
        backbone: the pre-trained model; it is not changed.
        members: the method's settings of each member, under the names of a space file.
        generators: a source of random numbers for each member.

    Attributes:
        blocks: names of the blocks that the method may change, in the order of the forward pass.
    """

    packable: ClassVar[bool] = False
    trains_head: ClassVar[bool] = True

    def __init__(self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]):
        super().__init__()
        if len(members) > 1 and not self.packable:
            raise ValueError(f"{type(self).__name__} trains one member at a time, got {len(members)}")
        self.size = len(members)
        self.blocks = candidate_blocks(backbone, members[0])
        self.backbone = self.adapt(backbone, members, generators)

    @abstractmethod
    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """The backbone with this method's trained parts in it."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (K * N, D) of uint8 pixels (K * N, 3, H, W), the members one after the other."""
        features: Tensor = self.backbone(pixels)
        return features

    def penalty(self) -> Tensor:
        """What is added to each member's task loss: (K,), zero unless the method has a price."""
        return next(self.backbone.parameters()).new_zeros(self.size)

    def score_optimizers(self) -> list[PackedSGD]:
        """Optimisers of the parameters that the adapter's optimiser must leave alone."""
        return []

    def active_blocks(self) -> list[tuple[str, ...]]:
        """Names of each member's active blocks."""
        return [self.blocks] * self.size


def candidate_blocks(backbone: Backbone, settings: Settings) -> tuple[str, ...]:
    """Names of the blocks that settings speak of: by default, every linear layer of the image tower."""
    return backbone.block_names(settings.get("blocks", KINDS), settings.get("towers", ("image",)))
