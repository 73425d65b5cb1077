"""What a probe sees of the models that it scores."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from trainables.backbones.texts import Texts
from trainables.data import ImageSet


class Encoder(Protocol):
    """K models as they are now. Of what they encode, little is remembered: probes may share images."""

    def parts(self, images: ImageSet) -> Iterator[Tensor]:
        """Features (K, n, D), not of unit length, of some images after the other."""

    def texts(self, texts: Texts) -> Tensor:
        """Features (K, M, D) of M sentences, not of unit length.

        Where the text tower is as pre-trained, they are `Backbone.vectors` for every model.
        """
