"""Sentences, and the class vectors that are made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.data import store
from trainables.fingerprint import fingerprint

_WORTH_KEEPING = 256  # sentences


@dataclass
class Texts:
    """Sentences, as tokens and, once they are asked for, as the pre-trained text tower embeds them.

    Attributes:
        tokens: (M, L), int64.
        vectors: (M, D), as `Backbone.vectors` gives them; None until they have been computed.
    """

    NOT_CONTENT: ClassVar[tuple[str, ...]] = ("vectors",)

    tokens: Tensor
    vectors: Tensor | None = None

    def to(self, device: str) -> "Texts":
        """The same sentences on a device. Other devices round otherwise, so each computes its own vectors."""
        moved = self.tokens.to(device)
        return Texts(moved, self.vectors if moved.device == self.tokens.device else None)


def kept_vectors(tower: nn.Module, tokens: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
    """Features (M, D) of tokens (M, L), which this machine keeps for the next to ask, where they are many.

    Args:
        tower: by whose weights they are known again.
        tokens: on the device where they are computed.
        encode: features of some tokens.
    """
    if len(tokens) < _WORTH_KEEPING:
        return encode(tokens)
    name = f"texts-{fingerprint((tower, tokens))}-{tokens.device.type}.npy"
    try:
        with store.only_maker(name):
            known = store.used(name)
            if known is not None:
                return torch.from_numpy(np.load(known)).to(tokens.device)
            vectors = encode(tokens)
            if store.has_room(vectors.nbytes):
                with store.whole(name, vectors.nbytes) as file:
                    np.save(file, vectors.cpu().numpy())
            return vectors
    except OSError as error:
        store.not_kept(error)
        return encode(tokens)


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
