"""What a pack is trained to do, and how it names the class of an image."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trainables.backbones import class_vectors
from trainables.engine.encoder import Encoder
from trainables.engine.linear_fit import fit_linear
from trainables.problem import Problem

EncodeText = Callable[[Tensor], Tensor]
"""Features (K * M, D) of tokens (K * M, L), the members one after the other."""

# Standard deviation of the weights of a fresh head, as in DINO's linear evaluation.
_FRESH = 0.01


class Objective(nn.Module):
    """A loss for each of K members, and logits from their features.

    Attributes:
        recordable: whether the loss asks the host for nothing, so that a step can be replayed.
    """

    recordable: ClassVar[bool] = True

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor, encode_text: EncodeText) -> Tensor:
        """(K,), from features (K, B, D) and labels (K, B)."""

    @abstractmethod
    def logits(self, features: Iterable[Tensor], encoder: Encoder) -> Iterator[Tensor]:
        """(K, n, C), from features (K, n, D) of some images after the other."""

    def reset(self, problem: Problem, generators: Sequence[Generator]) -> None:
        """Starts again as at the beginning of the training."""

    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Trains to the optimum on frozen features (K, N, D), as `gathered` has them, and labels (N,)."""


class Flyp(Objective):
    """Finetune like you pretrain: the contrastive loss of CLIP on images and prompts of their classes.

    Each image of a batch is paired with one prompt of its class, and the batch is a CLIP batch. There is no
    head: the text tower, as it is, names the classes. Source: Goyal et al., CVPR 2023 (arXiv 2212.00638).
    """

    recordable = False  # the prompts are drawn by the host

    def __init__(self, problem: Problem, generators: Sequence[Generator]) -> None:
        super().__init__()
        assert problem.prompts is not None
        self.prompts = problem.prompts
        self.templates = len(problem.task.templates)
        self.logit_scale = problem.backbone.logit_scale
        self.generators = generators

    def loss(self, features: Tensor, labels: Tensor, encode_text: EncodeText) -> Tensor:
        """(K,): mean of the cross entropies from images to prompts and from prompts to images."""
        size, batch = labels.shape
        chosen = torch.stack(
            [torch.randint(self.templates, (batch,), generator=g) for g in self.generators]
        ).to(labels.device)
        tokens = self.prompts.tokens[(labels * self.templates + chosen).flatten()]
        images = F.normalize(features, dim=-1)
        texts = F.normalize(encode_text(tokens).unflatten(0, (size, batch)), dim=-1)
        similar = self.logit_scale * images @ texts.mT
        pairs = torch.arange(batch, device=labels.device).repeat(size)
        both = [F.cross_entropy(s.flatten(0, 1), pairs, reduction="none") for s in (similar, similar.mT)]
        return (both[0] + both[1]).view(size, batch).mean(dim=1) / 2

    def logits(self, features: Iterable[Tensor], encoder: Encoder) -> Iterator[Tensor]:
        """Scaled cosines to the class vectors of the text tower as it is."""
        classes = class_vectors(encoder.texts(self.prompts), self.templates)
        return (self.logit_scale * F.normalize(part, dim=-1) @ classes.mT for part in features)


class CrossEntropy(Objective):
    """Cross entropy of a linear head.

    Attributes:
        label_smoothing: share of a label that is spread over all classes (Szegedy et al., 2016).
    """

    label_smoothing = 0.0

    def loss(self, features: Tensor, labels: Tensor, encode_text: EncodeText) -> Tensor:
        """(K,): mean over the batch; labels may be shares of the classes, (K, B, C)."""
        logits, flat = self.head(features).flatten(0, 1), labels.flatten(0, 1)
        each = F.cross_entropy(logits, flat, reduction="none", label_smoothing=self.label_smoothing)
        return each.view(labels.shape[:2]).mean(dim=1)

    def logits(self, features: Iterable[Tensor], encoder: Encoder) -> Iterator[Tensor]:
        """The head's."""
        return map(self.head, features)

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """(K, N, D) -> (K, N, C)."""


class PromptHead(CrossEntropy):
    """A head that starts as the class prompts: weights times the unit feature, without a bias.

    The weights hold the scale of the logits, so that at one learning rate they move as they do in the public
    code of WiSE-FT (mlfoundations/wise-ft) and FLYP (locuslab/FLYP), ``src/models/zeroshot.py``.

    Attributes:
        weight: (K, C, D).
    """

    def __init__(self, problem: Problem, generators: Sequence[Generator]) -> None:
        super().__init__()
        self.logit_scale = problem.backbone.logit_scale
        self.weight = nn.Parameter(prompt_weights(problem).repeat(len(generators), 1, 1))

    @torch.no_grad()
    def reset(self, problem: Problem, generators: Sequence[Generator]) -> None:
        """The class prompts."""
        self.weight.copy_(prompt_weights(problem))

    def head(self, features: Tensor) -> Tensor:
        """w f / |f|."""
        return F.normalize(features, dim=-1) @ self.weight.mT

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Multinomial logistic regression on the unit features times the logit scale, without a bias.

        The penalty is on the weights without the scale.
        """

        def scaled(some: Tensor) -> Tensor:
            return self.logit_scale * F.normalize(some, dim=-1)

        for k, inputs in enumerate(features):
            start = self.weight[k] / self.logit_scale
            fitted, _ = fit_linear(inputs, labels, len(start), start=start, bias=False, prepare=scaled)
            self.weight[k] = self.logit_scale * fitted


def prompt_weights(problem: Problem) -> Tensor:
    """(C, D): the unit vectors of the task's classes, times the scale of the logits."""
    return problem.backbone.logit_scale * problem.class_vectors


class FreshHead(CrossEntropy):
    """A linear head that knows nothing at the start.

    Attributes:
        weight: (K, C, D), normal with a standard deviation of 0.01.
        bias: (K, C), zero.
    """

    def __init__(self, problem: Problem, generators: Sequence[Generator]) -> None:
        super().__init__()
        classes, device = len(problem.task.classes), problem.backbone.mean.device
        shape = (len(generators), classes, problem.backbone.feature_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device))
        self.bias = nn.Parameter(torch.empty(shape[:2], device=device))
        self.reset(problem, generators)

    @torch.no_grad()
    def reset(self, problem: Problem, generators: Sequence[Generator]) -> None:
        """Draws the weights."""
        drawn = [torch.randn(self.weight.shape[1:], generator=g) for g in generators]
        self.weight.copy_(_FRESH * torch.stack(drawn))
        self.bias.zero_()

    def head(self, features: Tensor) -> Tensor:
        """w f + b."""
        return features @ self.weight.mT + self.bias[:, None]

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Multinomial logistic regression on the features."""
        for k, inputs in enumerate(features):
            self.weight[k], self.bias[k] = fit_linear(inputs, labels, self.weight.shape[1])


def make_objective(
    problem: Problem,
    objective: str,
    head: str | None,
    generators: Sequence[Generator],
    label_smoothing: float = 0.0,
) -> Objective:
    """The objective of a space's ``training.objective``, ``training.head`` and ``training.label_smoothing``.

    Without a word on the head it starts as the class prompts where the model can read them.
    """
    if objective == "flyp":
        return Flyp(problem, generators)
    prompted = (head or ("prompts" if problem.prompts else "fresh")) == "prompts"
    made = (PromptHead if prompted else FreshHead)(problem, generators)
    made.label_smoothing = label_smoothing
    return made
