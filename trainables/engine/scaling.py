"""A trained update, scaled: further models without further training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.backbones import Backbone
from trainables.engine.learner import Learner, initial_generators
from trainables.engine.objectives import PromptHead, prompt_weights


class Scaling(NamedTuple):
    """How an update is scaled.

    Attributes:
        kind: ``scale`` by one share (WiSE-FT, arXiv 2109.01903), or ``lines`` by shares that grow with depth
            (LiNeS, arXiv 2410.17146).
        share: of the whole update, or of that of the first layer; 0 is the pre-trained model.
    """

    kind: str
    share: float

    def __str__(self) -> str:
        return f"{self.kind}-{self.share:g}"


class Update:
    """What a pack's training has changed, and what it was before; to be made when the training has ended.

    For low-rank blocks scaling the update is scaling B. A head that started as the class prompts is scaled
    along by ``scale``, which moves all weights between two models; ``lines``, which is about layers, leaves
    it as trained. So does either with a fresh head, which says nothing at its start.
    """

    def __init__(self, learner: Learner) -> None:
        self._backbone: Backbone = learner.method.backbone
        self._weights: dict[str, Tensor] = dict(learner.method.updates())
        self._before = self._start(learner)
        if isinstance(learner.objective, PromptHead):
            self._weights["head.weight"] = learner.objective.weight
            before = prompt_weights(learner.problem).expand_as(learner.objective.weight)
            self._before["head.weight"] = before

    @staticmethod
    def _start(learner: Learner) -> dict[str, Tensor]:
        """The weights before the training, which the seeds give again."""
        method = learner.method
        again = type(method)(learner.problem.backbone, method.members, initial_generators(learner.spaces))
        return dict(again.updates())

    @contextmanager
    def scaled(self, scaling: Scaling) -> Iterator[None]:
        """While it lasts, all members have scaled updates."""
        after = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self.scale(scaling)
        try:
            yield
        finally:
            self._set(after)

    def scale(self, scaling: Scaling) -> None:
        """Scales the updates of all members, for good."""
        shares = {name: self._share(name, scaling) for name in self._weights}
        with torch.no_grad():
            self._set({n: torch.lerp(self._before[n], w, shares[n]) for n, w in self._weights.items()})

    def _share(self, name: str, scaling: Scaling) -> float:
        if scaling.kind == "scale":
            return scaling.share
        if name.startswith("head."):
            return 1.0
        for tower, path in self._backbone.layers.items():
            if name.startswith(f"{path}."):
                layer = int(name.removeprefix(f"{path}.").split(".")[0])
                depth = max(1, self._backbone.depth(tower) - 1)
                return scaling.share + (1 - scaling.share) * layer / depth
        return scaling.share

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])
