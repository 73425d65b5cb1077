"""What every way of asking a model for what it remembers offers."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from torch import Tensor

from trainables.backbones import Backbone
from trainables.data import ImageSet, Task
from trainables.engine.encoder import Encoder
from trainables.engine.measures import Split, accuracy
from trainables.sections import ProbeSet


class Probe(ABC):
    """A data set of the pre-training domain and a way to score it.

    Attributes:
        name: the probe's label in metrics.
    """

    name: str

    @property
    def image_sets(self) -> Sequence[ImageSet]:
        """The pictures of its splits."""
        return ()

    @property
    def pictures(self) -> int:
        """How many are encoded for an accuracy on the validation split."""
        return 0

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many pictures each split has that is used."""
        return {}

    @classmethod
    @abstractmethod
    def open(cls, name: str, source: ProbeSet, backbone: Backbone) -> Self:
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

    @property
    def image_sets(self) -> Sequence[ImageSet]:
        """The pictures of its splits, some of which may be empty."""
        return self.task.train, self.task.val, self.task.test

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many pictures each split has; no train where the probe does not learn from it."""
        return self.task.sizes

    @property
    def pictures(self) -> int:
        """Those of the validation split, and of the train split where the probe learns from it."""
        return len(self.task.val) + len(self.task.train)

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        """Accuracy of each of the encoder's models in percent."""
        images = self.task.val if split == "val" else self.task.test
        return accuracy(self.logits(encoder, images), images)

    @abstractmethod
    def logits(self, encoder: Encoder, images: ImageSet) -> Iterator[Tensor]:
        """Logits (K, n, C) of some images after the other; not finite wherever the features are not."""
