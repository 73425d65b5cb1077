"""The classification head of one trained model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from trainables.backbones import class_vectors
from trainables.engine.learner import Learner
from trainables.engine.objectives import Flyp, FreshHead, Objective, PromptHead

FILE = "head.safetensors"


@dataclass(frozen=True)
class Head:
    """Names the class of a feature f: ``weight f + bias``, or without a bias ``weight f / |f|``.

    Attributes:
        weight: (C, D).
        bias: (C,); None where features are taken at unit length.
    """

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, learner: Learner) -> Self:
        """The head of a pack's only member; where the text tower names the classes, their scaled vectors."""
        objective = learner.objective
        if isinstance(objective, Flyp):
            vectors = class_vectors(learner.encode_texts(objective.prompts), objective.templates)[0]
            return cls(objective.logit_scale * vectors)
        assert isinstance(objective, PromptHead | FreshHead)
        bias = objective.bias[0].detach() if isinstance(objective, FreshHead) else None
        return cls(objective.weight[0].detach(), bias)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The head of ``weight`` and, where there is one, ``bias``."""
        return cls(tensors["weight"], tensors.get("bias"))

    def tensors(self) -> dict[str, Tensor]:
        """The head by the names of its parts."""
        return {"weight": self.weight} if self.bias is None else {"weight": self.weight, "bias": self.bias}

    def logits(self, features: Tensor) -> Tensor:
        """(N, D) to (N, C)."""
        if self.bias is None:
            return normalize(features, dim=-1) @ self.weight.mT
        return features @ self.weight.mT + self.bias

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a space's ``training`` section that make an objective with such a head."""
        return {"objective": "cross_entropy", "head": "prompts" if self.bias is None else "fresh"}

    @property
    def formula(self) -> str:
        """How logits come from features, for a reader."""
        if self.bias is None:
            return "normalize(features) @ weight.T"
        return "features @ weight.T + bias"

    @torch.no_grad()
    def put_into(self, objective: Objective) -> None:
        """Puts the head into an objective that was made by its `settings`."""
        named = dict(objective.named_parameters())
        for name, tensor in self.tensors().items():
            named[name].copy_(tensor[None])
