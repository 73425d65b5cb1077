"""What a probe sees of the models that it scores."""

from typing import Protocol

from torch import Tensor

from trainables.backbones.texts import Texts
from trainables.data import ImageSet


class Encoder(Protocol):
    """K models as they are now. Remembers what it has encoded: probes may share their images."""

    def images(self, images: ImageSet) -> Tensor:
        """Features (K, N, D) of N images, not of unit length."""

    def texts(self, texts: Texts) -> Tensor:
        """Features (K, M, D) of M sentences, not of unit length.

        Where the text tower is as pre-trained, they are ``texts.vectors`` for every model.
        """
