"""A pack of models in training: an adapted backbone and a classification head for each member."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trainables.data import ImageSet
from trainables.measures import Encode
from trainables.methods import METHODS
from trainables.problem import Problem

# Rows of one forward pass in evaluation, over all members of a pack.
_EVALUATION_ROWS = 512


class Learner(nn.Module):
    """K members, one after the other along the batch axis.

    Attributes:
        method: how the backbone is adapted.
        head: (K, C, D), class vectors, which start as the class prompts.
    """

    def __init__(
        self, problem: Problem, members: Sequence[Mapping[str, Any]], generators: Sequence[Generator]
    ) -> None:
        super().__init__()
        self.method = METHODS[members[0]["name"]](problem.backbone, members, generators)
        self.size = len(members)
        self.logit_scale = problem.backbone.logit_scale
        self.head = nn.Parameter(
            problem.prompts.repeat(self.size, 1, 1), requires_grad=self.method.trains_head
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (K, N, C) of uint8 pixels (K * N, 3, H, W)."""
        return self.classify(self.method(pixels).unflatten(0, (self.size, -1)))

    def classify(self, features: Tensor) -> Tensor:
        """Logits (K, N, C) of features (K, N, D): the scaled cosine to an unnormalised class vector."""
        return self.logit_scale * F.normalize(features, dim=-1) @ self.head.mT

    def encoder(self) -> Encode:
        """`encode` as it is now, which remembers what it has encoded: probes may share their images."""
        seen: dict[int, Tensor] = {}

        def encode(images: ImageSet) -> Tensor:
            if id(images.pixels) not in seen:
                seen[id(images.pixels)] = self.encode(images)
            return seen[id(images.pixels)]

        return encode

    @torch.inference_mode()
    def encode(self, images: ImageSet) -> Tensor:
        """Features (K, N, D) of N images for all members."""
        batches = images.pixels.split(max(1, _EVALUATION_ROWS // self.size))
        features = [
            self.method(batch.repeat(self.size, 1, 1, 1)).unflatten(0, (self.size, -1)) for batch in batches
        ]
        return torch.cat(features, dim=1)

    def trained(self) -> dict[str, nn.Parameter]:
        """Everything that training changes, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}
