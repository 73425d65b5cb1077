"""Zero-shot classification: the nearest class prompt."""

import copy
from typing import Self

import torch.nn.functional as F

from trainables.backbones import Backbone
from trainables.data import Task
from trainables.measures import Encode, Split, top1
from trainables.probes.probe import Probe


class ZeroShotProbe(Probe):
    """CLIP's zero-shot accuracy (Radford et al., 2021, section 3.1).

    The class prompts are embedded once, by the pre-trained text tower, which image-tower methods leave as
    it is.
    """

    def __init__(self, name: str, task: Task, backbone: Backbone) -> None:
        self.name = name
        self._splits = {"val": task.val, "test": task.test}
        self._prompts = backbone.class_embeddings(task.classes, task.templates)

    def to(self, device: str) -> Self:
        """The same probe with its images and prompts on a device."""
        moved = copy.copy(self)
        moved._splits = {name: images.to(device) for name, images in self._splits.items()}
        moved._prompts = self._prompts.to(device)
        return moved

    def accuracy(self, encode: Encode, split: Split) -> list[float]:
        """Top-1 accuracy of each pack member in percent."""
        images = self._splits[split]
        return top1(F.normalize(encode(images), dim=-1) @ self._prompts.T, images.labels)
