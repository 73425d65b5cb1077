"""The pre-trained model's own classifier."""

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from trainables.backbones import Backbone
from trainables.data import ImageSet, Task, load_task
from trainables.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes.probe import ClassificationProbe


class HeadProbe(ClassificationProbe):
    """Accuracy of the classifier that the model was pre-trained with, on the features as they are now.

    Args:
        classifier: features (N, D) to logits (N, C); a frozen copy is kept.
    """

    def __init__(self, name: str, task: Task, classifier: nn.Module) -> None:
        super().__init__(name, task)
        self._classifier = copy.deepcopy(classifier).requires_grad_(False).eval()

    @classmethod
    def open(cls, name: str, source: Mapping[str, Any], backbone: Backbone) -> Self:
        """The probe with the data of a resolved source, whose classes must be those of the classifier."""
        if backbone.classifier is None:
            raise ProblemError("score: 'head' needs a model with a classifier of its own; take knn or linear")
        task = load_task(source, backbone.preprocessing, ("val", "test"))
        probe = cls(name, task, backbone.classifier)
        outputs = probe._classifier(torch.zeros(1, backbone.feature_size)).shape[1]
        if outputs != len(task.classes):
            raise ProblemError(
                f"score: 'head' needs the classes that the model was pre-trained on: its classifier has "
                f"{outputs} outputs, the data {len(task.classes)} classes; take knn or linear"
            )
        return probe

    def to(self, device: str) -> Self:
        """The same probe with its images and classifier on a device."""
        moved = super().to(device)
        moved._classifier = copy.deepcopy(self._classifier).to(device)
        return moved

    def logits(self, encoder: Encoder, images: ImageSet) -> Tensor:
        """Logits (K, N, C) of the classifier."""
        return torch.stack([self._classifier(features) for features in encoder.images(images)])
