"""A pack of models in training: an adapted backbone and an objective for each member."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trainables.backbones import Texts
from trainables.data import ImageSet
from trainables.methods import METHODS
from trainables.objectives import make_objective
from trainables.problem import Problem

# One forward pass in evaluation, over all members of a pack: picture elements, and sentences. More does not
# fit the caches of a processor: a ViT-Tiny at 224 px is a third slower on 512 pictures than on 64.
_EVALUATION_PIXELS = 64 * 224 * 224
_EVALUATION_SENTENCES = 512


class Learner(nn.Module):
    """K members, one after the other along the batch axis.

    Attributes:
        method: how the backbone is adapted.
        objective: what is minimised, and how classes are named.
        generators: a source of random numbers for each member.
    """

    def __init__(
        self, problem: Problem, spaces: Sequence[Mapping[str, Any]], generators: Sequence[Generator]
    ) -> None:
        super().__init__()
        training, members = spaces[0]["training"], [space["method"] for space in spaces]
        self.size = len(members)
        self.problem = problem
        self.generators = generators
        self.method = METHODS[members[0]["name"]](problem.backbone, members, generators)
        self.objective = make_objective(problem, training["objective"], training["head"], generators)
        self.objective.requires_grad_(self.method.trains_head)
        self._precision = getattr(torch, training["precision"])
        device = problem.backbone.mean.device
        self._retention = torch.tensor([space["training"]["retention"] for space in spaces], device=device)
        self._retains = bool(self._retention.any())
        if self.method.fits_head:
            self.fit_head()

    def loss(self, pixels: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """(K,): the objective, the method's price, and the retention term.

        ``pixels`` (K * B, 3, H, W) from 0 to 255, ``labels`` (K, B), ``epoch`` the number of epochs done.
        """
        features = self._features(pixels)
        task = self.objective.loss(features, labels, self._encode_text)
        loss = task + self.method.penalty(epoch)
        return loss + self._retention * self._distance(features, pixels) if self._retains else loss

    def _distance(self, features: Tensor, pixels: Tensor) -> Tensor:
        """(K,): mean squared distance of the unit features to the pre-trained model's, on the same images.

        After LDIFS (Mukhoti et al., arXiv 2308.13320), which takes the features of several layers; here they
        are the final ones.
        """
        with torch.no_grad(), self._autocast(pixels):
            before = self.problem.backbone(pixels).float().view_as(features)
        difference = F.normalize(features, dim=-1) - F.normalize(before, dim=-1)
        return difference.square().sum(dim=-1).mean(dim=1)

    def _features(self, pixels: Tensor) -> Tensor:
        """(K, N, D), of pixels (K * N, 3, H, W)."""
        with self._autocast(pixels):
            features = self.method(pixels)
        members: Tensor = features.float().unflatten(0, (self.size, -1))
        return members

    def _encode_text(self, tokens: Tensor) -> Tensor:
        with self._autocast(tokens):
            features = self.method.backbone.encode_text(tokens)
        return features.float()

    def _autocast(self, there: Tensor) -> torch.autocast:
        return torch.autocast(there.device.type, torch.bfloat16, self._precision == torch.bfloat16)

    def encoder(self) -> "PackEncoder":
        """The members as they are now."""
        return PackEncoder(self)

    @torch.inference_mode()
    def encode(self, images: ImageSet) -> Tensor:
        """Features (K, N, D) of N images for all members."""
        side = self.problem.backbone.preprocessing.size
        batches = images.batches(max(1, _EVALUATION_PIXELS // (self.size * side**2)))
        return torch.cat([self._features(batch.repeat(self.size, 1, 1, 1)) for batch in batches], dim=1)

    @torch.inference_mode()
    def encode_texts(self, texts: Texts) -> Tensor:
        """Features (K, M, D) of M sentences for all members."""
        if not self.method.adapts_text:
            return texts.vectors.expand(self.size, -1, -1)
        batches = texts.tokens.split(max(1, _EVALUATION_SENTENCES // self.size))
        features = [self._encode_text(batch.repeat(self.size, 1)) for batch in batches]
        return torch.cat([part.unflatten(0, (self.size, -1)) for part in features], dim=1)

    def fit_head(self) -> None:
        """Trains the head to its optimum on the features as they are now."""
        train = self.problem.task.train
        self.objective.fit(self.encode(train), train.labels)

    def begin_phase(self) -> None:
        """Starts the next run of the schedule, with a new head."""
        self.method.begin_phase(self.generators)
        self.objective.reset(self.problem, self.generators)

    def trained(self) -> dict[str, nn.Parameter]:
        """Everything that training changes, by name; the frozen model is not part of it."""
        own = {f"method.{name}": p for name, p in self.method.named_parameters()}
        own |= {f"objective.{name}": p for name, p in self.objective.named_parameters()}
        return {name: p for name, p in own.items() if p.requires_grad}


class PackEncoder:
    """What the members encode, each image set and each text once."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._seen: dict[int, Tensor] = {}

    def images(self, images: ImageSet) -> Tensor:
        """Features (K, N, D)."""
        if id(images.pixels) not in self._seen:
            self._seen[id(images.pixels)] = self._learner.encode(images)
        return self._seen[id(images.pixels)]

    def texts(self, texts: Texts) -> Tensor:
        """Features (K, M, D)."""
        if id(texts.tokens) not in self._seen:
            self._seen[id(texts.tokens)] = self._learner.encode_texts(texts)
        return self._seen[id(texts.tokens)]
