"""Full fine-tuning: every weight of the image tower."""

import copy
from collections.abc import Sequence

from torch import Generator

from trainables.backbones import Backbone
from trainables.methods.method import Method, Settings


class Full(Method):
    """Trains all weights of the image encoder from their pre-trained values."""

    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """A copy of the backbone with weights of its own."""
        own = copy.deepcopy(backbone)
        own.image_tower.requires_grad_(True)
        return own
