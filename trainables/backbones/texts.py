"""Sentences, and the class vectors that are made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Texts:
    """Sentences, as tokens and as the pre-trained text tower embeds them.

    Attributes:
        tokens: (M, L), int64.
        vectors: (M, D), features of the pre-trained text tower, not of unit length.
    """

    tokens: Tensor
    vectors: Tensor

    def to(self, device: str) -> "Texts":
        """The same sentences on a device."""
        return Texts(self.tokens.to(device), self.vectors.to(device))


def class_sentences(classes: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every class name in every template: all sentences of the first class, then all of the second, ..."""
    return [template.format(name) for name in classes for template in templates]


def class_vectors(embeddings: Tensor, templates: int) -> Tensor:
    """Zero-shot classifiers: the mean of a class's unit embeddings over templates, made unit again.

    Source: Radford et al., 2021 (CLIP), section 3.1.4, prompt ensembling.

    Args:
        embeddings: (K, C * T, D), of `class_sentences`.
        templates: T, their number.

    Returns:
        (K, C, D), unit vectors.
    """
    unit = F.normalize(embeddings, dim=-1)
    return F.normalize(unit.unflatten(1, (-1, templates)).mean(dim=2), dim=-1)
