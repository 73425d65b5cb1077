"""Weighted nearest neighbours on the features."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from trainables.backbones import Backbone
from trainables.data import ImageSet, Task, load_task
from trainables.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes.probe import ClassificationProbe
from trainables.probes.similarity import similarities


class KnnProbe(ClassificationProbe):
    """DINO's weighted k-NN accuracy (Caron et al., 2021; Wu et al., 2018).

    The k pictures of the train split that are nearest by cosine vote for their classes, each with the weight
    exp(cosine / temperature). The train split is encoded anew each time: the bank is the model's own.

    Args:
        k: number of neighbours.
        temperature: how much more the nearest one counts; lower is more.

    Raises:
        ProblemError: the train split has fewer than k pictures.
    """

    def __init__(self, name: str, task: Task, k: int = 20, temperature: float = 0.07) -> None:
        if len(task.train) < k:
            raise ProblemError(
                f"k: {k} nearest pictures are to vote, but the train split has {len(task.train)}; lower k, "
                "or raise the limit or the share of the train split"
            )
        super().__init__(name, task)
        self._k = k
        self._temperature = temperature

    @classmethod
    def open(cls, name: str, source: Mapping[str, Any], backbone: Backbone) -> Self:
        """The probe with the data of a resolved source, and its ``k`` and ``temperature``."""
        return cls(name, load_task(source, backbone.preprocessing), source["k"], source["temperature"])

    def logits(self, encoder: Encoder, images: ImageSet) -> Tensor:
        """Shares (K, N, C) of the votes."""
        pairs = zip(encoder.images(images), encoder.images(self.task.train), strict=True)
        return torch.stack([self._votes(queries, bank) for queries, bank in pairs])

    def _votes(self, queries: Tensor, bank: Tensor) -> Tensor:
        return torch.cat([self._count(cosines) for cosines in similarities(queries, bank)])

    def _count(self, cosines: Tensor) -> Tensor:
        nearest = cosines.topk(self._k)
        # The weights as shares of their sum, which no temperature makes overflow.
        weights = (nearest.values / self._temperature).softmax(dim=1)
        votes = weights.new_zeros(len(weights), len(self.task.classes))
        return votes.scatter_add_(1, self.task.train.labels[nearest.indices], weights)
