"""What every way of asking a model for what it remembers offers."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from trainables.backbones import Backbone
from trainables.data import ImageSet, Task
from trainables.encoder import Encoder
from trainables.measures import Split, accuracy


class Probe(ABC):
    """A data set of the pre-training domain and a way to score it.

    Attributes:
        name: the probe's label in metrics.
    """

    name: str

    @classmethod
    @abstractmethod
    def open(cls, name: str, source: Mapping[str, Any], backbone: Backbone) -> Self:
        """The probe with the data of a resolved source.

        Raises:
            ProblemError: the data cannot be had, or cannot be scored so with this model.
        """

    @abstractmethod
    def to(self, device: str) -> Self:
        """The same probe with its data on a device."""

    @abstractmethod
    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        """Accuracy of each of the encoder's models in percent; NaN where its features are not finite."""


class ClassificationProbe(Probe):
    """Accuracy on a task, by its metric; kinds of probes differ in where their logits come from."""

    def __init__(self, name: str, task: Task) -> None:
        self.name = name
        self.task = task

    def to(self, device: str) -> Self:
        """The same probe with its data on a device."""
        moved = copy.copy(self)
        moved.task = self.task.to(device)
        return moved

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        """Accuracy of each of the encoder's models in percent."""
        images = self.task.val if split == "val" else self.task.test
        return accuracy(self.logits(encoder, images), images)

    @abstractmethod
    def logits(self, encoder: Encoder, images: ImageSet) -> Tensor:
        """Logits (K, N, C) of N images; not finite wherever the features are not."""
