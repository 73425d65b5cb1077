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
from trainables.probes.similarity import similarities
from trainables.sections import ProbeSet


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
        """Mean recall at 1 of each of the encoder's models in percent."""
        captioned = self.splits[split]
        features = zip(encoder.images(captioned.images), encoder.texts(captioned.texts), strict=True)
        return [recall(images, texts, captioned.owners) for images, texts in features]


def _with_texts(pairs: Pairs, backbone: Backbone) -> Captioned:
    return Captioned(pairs.images, backbone.texts(pairs.captions), pairs.owners)


def recall(images: Tensor, texts: Tensor, owners: Tensor) -> float:
    """Mean of both directions' recall at 1 in percent; NaN if a feature is not finite.

    Args:
        images: (N, D).
        texts: (M, D).
        owners: (M,), the row of the image that a caption describes.
    """
    if not (torch.isfinite(images).all() and torch.isfinite(texts).all()):
        return math.nan
    rows = torch.arange(len(images), device=owners.device)
    image_hits = owners[_nearest(images, texts)] == rows
    text_hits = _nearest(texts, images) == owners
    return 50 * (image_hits.double().mean() + text_hits.double().mean()).item()


def _nearest(queries: Tensor, keys: Tensor) -> Tensor:
    return torch.cat([cosines.argmax(dim=1) for cosines in similarities(queries, keys)])
