"""Zero-shot classification: the nearest class vector."""

from collections.abc import Iterator
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from trainables.backbones import Backbone, Texts, class_sentences, class_vectors
from trainables.data import ImageSet, Task, load_task, refuse_unnamed
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes.probe import ClassificationProbe
from trainables.sections import ProbeSet


class ZeroShotProbe(ClassificationProbe):
    """CLIP's zero-shot accuracy (Radford et al., 2021, section 3.1).

    The class vectors are embedded anew each time, so an adapted text tower counts.

    Args:
        texts: the `class_sentences` of the task.
    """

    def __init__(self, name: str, task: Task, texts: Texts) -> None:
        super().__init__(name, task)
        self._texts = texts

    @classmethod
    def open(cls, name: str, source: ProbeSet, backbone: Backbone) -> Self:
        """The probe with the data of a resolved source; the model must have a text tower."""
        if not backbone.reads_text:
            raise ProblemError("score: 'zero_shot' needs a model with a text tower; take knn, linear or head")
        task = load_task(source, backbone.preprocessing, ("val", "test"))
        refuse_unnamed(source, task.classes)
        return cls(name, task, backbone.texts(class_sentences(task.classes, task.templates)))

    def to(self, device: str) -> Self:
        """The same probe with its images and sentences on a device."""
        moved = super().to(device)
        moved._texts = self._texts.to(device)
        return moved

    def logits(self, encoder: Encoder, images: ImageSet) -> Iterator[Tensor]:
        """Cosines (K, n, C) of features and class vectors."""
        vectors = class_vectors(encoder.texts(self._texts), len(self.task.templates))
        return (F.normalize(part, dim=-1) @ vectors.mT for part in encoder.parts(images))
