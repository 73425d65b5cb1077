"""The pre-trained model's own classifier."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from trainables.backbones import Backbone
from trainables.data import ImageSet, Task, load_task
from trainables.data.matching import places_in_head
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes.probe import ClassificationProbe
from trainables.sections import ProbeSet


class HeadProbe(ClassificationProbe):
    """Accuracy of the classifier that the model was pre-trained with, on the features as they are now.

    Args:
        classifier: features (N, D) to logits (N, C); a frozen copy is kept.
    """

    def __init__(self, name: str, task: Task, classifier: nn.Module) -> None:
        super().__init__(name, task)
        self._classifier = copy.deepcopy(classifier).requires_grad_(False).eval()

    @classmethod
    def open(cls, name: str, source: ProbeSet, backbone: Backbone) -> Self:
        """The probe with the data of a resolved source.

        Raises:
            ProblemError: its classes are not those of the classifier, nor a ``class_subset`` of them.
        """
        if backbone.classifier is None:
            raise ProblemError("score: 'head' needs a model with a classifier of its own; take knn or linear")
        task = load_task(source, backbone.preprocessing, ("val", "test"))
        probe = cls(name, task, backbone.classifier)
        places = places_in_head(task, probe.outputs(backbone.feature_size), source.class_subset)
        if places is not None:
            probe.task = replace(task, val=task.val.placed(places), test=task.test.placed(places))
        return probe

    def outputs(self, features: int) -> int:
        """How many classes the classifier has, given the size of its features."""
        logits: Tensor = self._classifier(torch.zeros(1, features))
        return logits.shape[1]

    def to(self, device: str) -> Self:
        """The same probe with its images and classifier on a device."""
        moved = super().to(device)
        moved._classifier = copy.deepcopy(self._classifier).to(device)
        return moved

    def logits(self, encoder: Encoder, images: ImageSet) -> Iterator[Tensor]:
        """Logits (K, n, C) of the classifier."""
        return (torch.stack([self._classifier(each) for each in part]) for part in encoder.parts(images))
