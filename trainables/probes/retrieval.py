"""Retrieval: a picture's caption among all captions, a caption's picture among all pictures."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from trainables.backbones import Backbone, Texts
from trainables.data import ImageSet, Pairs, load_pairs
from trainables.engine.encoder import Encoder
from trainables.engine.measures import Split
from trainables.errors import ProblemError
from trainables.probes.probe import Probe
from trainables.probes.similarity import joined, similarities
from trainables.sections import ProbeSet

_IMAGES = 2**28  # values of the images' features that are held at a time: 1 GiB


@dataclass(frozen=True)
class Captioned:
    """Images with captions.

    Attributes:
        images: N images.
        texts: M captions.
        owners: (M,), int64, the row of the image that a caption describes; an image may have several.
    """

    images: ImageSet
    texts: Texts
    owners: Tensor

    def to(self, device: str) -> "Captioned":
        """The same images and captions on a device."""
        return Captioned(self.images.to(device), self.texts.to(device), self.owners.to(device))


class RetrievalProbe(Probe):
    """Mean of image-to-text and text-to-image recall at 1 (Radford et al., 2021, table 13).

    An image is a hit if the nearest caption is one of its own, a caption if the nearest image is its own.

    Attributes:
        splits: the images and captions of each split.
    """

    def __init__(self, name: str, splits: Mapping[Split, Captioned]) -> None:
        self.name = name
        self.splits = dict(splits)

    @classmethod
    def open(cls, name: str, source: ProbeSet, backbone: Backbone) -> Self:
        """The probe with the captioned images of a resolved source; the model must have a text tower."""
        if not backbone.reads_text:
            raise ProblemError("score: 'retrieval' needs a model with a text tower; take a CLIP")
        pairs = load_pairs(source, backbone.preprocessing)
        return cls(name, {"val": _with_texts(pairs.val, backbone), "test": _with_texts(pairs.test, backbone)})

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many pictures each split has."""
        return {split: len(captioned.images) for split, captioned in self.splits.items()}

    @property
    def pictures(self) -> int:
        """Those of the validation split."""
        return len(self.splits["val"].images)

    def to(self, device: str) -> Self:
        """The same probe with its images and captions on a device."""
        moved = copy.copy(self)
        moved.splits = {split: captioned.to(device) for split, captioned in self.splits.items()}
        return moved

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        """Mean recall at 1 of each of the encoder's models in percent; some images are held at a time."""
        captioned = self.splits[split]
        members = [Recall(texts, captioned.owners) for texts in encoder.texts(captioned.texts)]
        for images in joined(encoder.parts(captioned.images), _IMAGES):
            for member, features in zip(members, images, strict=True):
                member.add(features)
        return [member.percent() for member in members]


def _with_texts(pairs: Pairs, backbone: Backbone) -> Captioned:
    return Captioned(pairs.images, backbone.texts(pairs.captions), pairs.owners)


class Recall:
    """Recall at 1 of one model, whose images come in parts.

    Args:
        texts: features (M, D).
        owners: (M,), the row of the image that a caption describes.
    """

    def __init__(self, texts: Tensor, owners: Tensor) -> None:
        self._texts, self._owners = texts, owners
        self._cosines = texts.new_full((len(texts),), -torch.inf)  # to the nearest image so far
        self._nearest = torch.full_like(owners, -1)
        self._images = self._hits = 0
        self._finite = bool(torch.isfinite(texts).all())

    def add(self, images: Tensor) -> None:
        """The next images' features (n, D)."""
        self._finite = self._finite and bool(torch.isfinite(images).all())
        rows = torch.arange(self._images, self._images + len(images), device=self._owners.device)
        captions = torch.cat([cosines.argmax(dim=1) for cosines in similarities(images, self._texts)])
        self._hits += int((self._owners[captions] == rows).sum())
        found = [cosines.max(dim=1) for cosines in similarities(self._texts, images)]
        cosines, places = (torch.cat(part) for part in zip(*found, strict=True))
        nearer = cosines > self._cosines
        self._cosines = cosines.where(nearer, self._cosines)
        self._nearest = rows[places].where(nearer, self._nearest)
        self._images += len(images)

    def percent(self) -> float:
        """Mean of both directions over all images so far; NaN if a feature is not finite."""
        if not self._finite:
            return math.nan
        texts = (self._nearest == self._owners).double().mean().item()
        return 50 * (self._hits / self._images + texts)
