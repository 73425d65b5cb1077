"""What every way of asking a model for what it remembers offers."""

from abc import ABC, abstractmethod
from typing import Self

from trainables.measures import Encode, Split


class Probe(ABC):
    """A data set of the pre-training domain and a way to score it.

    Attributes:
        name: the probe's label in metrics.
    """

    name: str

    @abstractmethod
    def to(self, device: str) -> Self:
        """The same probe with its data on a device."""

    @abstractmethod
    def accuracy(self, encode: Encode, split: Split) -> list[float]:
        """Accuracy of each pack member in percent; NaN where its features are not finite.

        ``encode`` gives the features (K, N, D) of N images for all K members.
        """
