"""Weighted nearest neighbours on the features."""

from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from trainables.backbones import Backbone
from trainables.data import ImageSet, Task, load_task
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes.probe import ClassificationProbe
from trainables.probes.similarity import joined, similarities
from trainables.sections import ProbeSet

_BANK = 2**24  # values of the bank's features that are held against queries at a time
_QUERIES = 2**28  # values of the queries' features that are held: 1 GiB; for each, the bank is encoded once
_VOTES = 1024  # pictures whose votes, of every class, are counted at a time


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
    def open(cls, name: str, source: ProbeSet, backbone: Backbone) -> Self:
        """The probe with the data of a resolved source, and its ``k`` and ``temperature``."""
        return cls(name, load_task(source, backbone.preprocessing), source.k, source.temperature)

    def logits(self, encoder: Encoder, images: ImageSet) -> Iterator[Tensor]:
        """Shares (K, n, C) of the votes; of queries and bank, some pictures' features are held at a time."""
        for queries in joined(encoder.parts(images), _QUERIES):
            # Nearest so far: cosines (K, n, k) and labels; fewer than k at first.
            cosines, labels = queries[..., :0], queries[..., :0].long()
            for bank, theirs in self._banks(encoder):
                each = zip(queries, bank, cosines, labels, strict=True)
                found = [self._nearer(*member, theirs) for member in each]
                cosines, labels = (torch.stack(part) for part in zip(*found, strict=True))
            yield from map(self._votes, cosines.split(_VOTES, dim=1), labels.split(_VOTES, dim=1))

    def _banks(self, encoder: Encoder) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (K, b, D) of the train split and their labels (b,), as many at a time as are worth it."""
        labels = self.task.train.labels
        for bank in joined(encoder.parts(self.task.train), _BANK):
            yield bank, labels[: bank.shape[1]]
            labels = labels[bank.shape[1] :]

    def _nearer(
        self, queries: Tensor, bank: Tensor, cosines: Tensor, labels: Tensor, theirs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cosines and labels (N, k) of the nearest of those known and those of a bank (b, D)."""
        found, start = [], 0
        for new in similarities(queries, bank):
            some = slice(start, start + len(new))
            start += len(new)
            every = torch.cat([cosines[some], new], dim=1)
            nearest = every.topk(min(self._k, every.shape[1]))
            candidates = torch.cat([labels[some], theirs.expand(len(new), -1)], dim=1)
            found.append((nearest.values, candidates.gather(1, nearest.indices)))
        values, nearer = zip(*found, strict=True)
        return torch.cat(values), torch.cat(nearer)

    def _votes(self, cosines: Tensor, labels: Tensor) -> Tensor:
        # The weights as shares of their sum, which no temperature makes overflow.
        weights = (cosines / self._temperature).softmax(dim=-1)
        votes = weights.new_zeros(*weights.shape[:2], len(self.task.classes))
        return votes.scatter_add_(2, labels, weights)
