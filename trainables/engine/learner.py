"""A pack of models in training: an adapted backbone and an objective for each member."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainables.backbones import Texts
from trainables.backbones.forward_pass import Entry, plainly, run
from trainables.data import ImageSet
from trainables.data.loader import Reader, Stream
from trainables.engine.batch import Batch
from trainables.engine.linear_fit import gathered
from trainables.engine.objectives import make_objective
from trainables.engine.precision import Precision
from trainables.engine.prefix import Prefix, pictures_at_once
from trainables.engine.retention import distance, neighbor_loss
from trainables.methods import METHODS
from trainables.problem import Problem
from trainables.sections import Space

# Sentences in one pass of the text tower in evaluation, over all members of a pack.
_SENTENCES = {"cpu": 512, "cuda": 4096}
_REMEMBERED = 2**26  # values of the features of an image set, of all members, that are kept for another probe


class Learner(nn.Module):
    """K members, one after the other along the batch axis.

    Args:
        problem: what all members share.
        spaces: the resolved space of each member.
        generators: a source of random numbers for each member, for the training.
        prefix: runs the layers that no member has changed; None runs all layers for every member.

    Attributes:
        method: how the backbone is adapted.
        objective: what is minimised, and how classes are named.
    """

    def __init__(
        self,
        problem: Problem,
        spaces: Sequence[Space],
        generators: Sequence[Generator],
        prefix: Prefix | None = None,
    ) -> None:
        super().__init__()
        training, members = spaces[0].training, [space.method for space in spaces]
        self.size = len(members)
        self.spaces = spaces
        self.problem = problem
        self.generators = generators
        self.prefix = prefix
        self.method = METHODS[members[0].name](problem.backbone, members, initial_generators(spaces))
        self.objective = make_objective(
            problem, training.objective, training.head, generators, training.label_smoothing
        )
        self.objective.requires_grad_(self.method.trains_head)
        self._call = self._twice if training.checkpointing else plainly
        device = problem.backbone.mean.device
        prices = [[s.training.retention, s.training.neighbors] for s in spaces]
        terms = zip(torch.tensor(prices, device=device).T, (distance, neighbor_loss), strict=True)
        self._terms = [(price, term) for price, term in terms if price.any()]
        untouched = [problem.backbone] if prefix or self._terms else []
        self._precision = Precision(training.precision, self.method.backbone, *untouched)

    def loss(self, batch: Batch, epoch: int) -> Tensor:
        """(K,): the objective, the method's price, and what keeps the features.

        ``epoch`` is the number of epochs done.
        """
        features = self._features(batch)
        labels = batch.labels.expand(self.size, *batch.labels.shape[1:])
        loss = self.objective.loss(features, labels, self._encode_text) + self.method.penalty(epoch)
        if self._terms:
            before = self._untouched(batch).view_as(features)
            for price, term in self._terms:
                loss = loss + price * term(features, before)
        return loss

    def _untouched(self, batch: Batch) -> Tensor:
        """The pre-trained model's features (K * B, D)."""
        members = range(self.size)
        with torch.no_grad(), self._precision():
            if self.prefix is None:
                features: Tensor = self.problem.backbone(batch.of(batch.pixels, members))
            else:
                features = self.prefix.before(batch, self.problem.backbone.depth("image"), members)
        return features.float()

    def _features(self, batch: Batch) -> Tensor:
        """(K, B, D)."""
        starts = self.method.frozen_layers() if self.prefix else [0] * self.size
        groups = [(n, [k for k in range(self.size) if starts[k] == n]) for n in sorted(set(starts))]
        with self._precision(), self.method.entered(groups):
            entries = [Entry(layer, self._before(batch, layer, members)) for layer, members in groups]
            features = run(self.method.backbone, entries, call=self._call).float()
        rows = dict(zip(chain(*(members for _, members in groups)), features.chunk(self.size), strict=True))
        return torch.stack([rows[k] for k in range(self.size)])

    def _before(self, batch: Batch, layer: int, members: Sequence[int]) -> Tensor:
        """What a layer is given of the pictures of P members: (P * B, ...), as `Entry.inputs` has it."""
        if self.prefix is None:
            return batch.of(batch.pixels, members)
        return self.prefix.before(batch, layer, members)

    def _twice(self, layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """A layer that keeps nothing for the backward pass but what it is given, and is run again there."""
        if not torch.is_grad_enabled():
            return plainly(layer, *args, **kwargs)
        # No layer draws random numbers; a recorded step could not look at their state.
        settings: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        return checkpoint(layer, *args, context_fn=self._runs, **settings, **kwargs)

    def _runs(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What the first and the second run of a layer are in."""
        return nullcontext(), self._second_run(self.method.again())

    @contextmanager
    def _second_run(self, again: AbstractContextManager[None]) -> Iterator[None]:
        with self._precision(), again:
            yield

    def _encode_text(self, tokens: Tensor) -> Tensor:
        with self._precision():
            features = self.method.backbone.encode_text(tokens)
        return features.float()

    def encoder(self) -> "PackEncoder":
        """The members as they are now."""
        return PackEncoder(self)

    @torch.inference_mode()
    def encode(self, images: ImageSet) -> Iterator[Tensor]:
        """Features (K, n, D) for all members, of some images after the other."""
        at_once = max(1, pictures_at_once(self.problem.backbone) // self.size)
        device, pixels = images.labels.device, images.pixels
        stream = None
        if not isinstance(pixels, Tensor):
            reader = Reader(pixels, self.problem.workers, device.type == "cuda")
            stream = Stream(reader, torch.arange(len(images)).split(at_once), device)
        for number, part in enumerate(torch.arange(len(images), device=device).split(at_once)):
            batch = Batch(images, part[None], partial(stream.read, number) if stream else None)
            with self.method.measured():
                features = self._features(batch)
            yield features

    @torch.inference_mode()
    def encode_texts(self, texts: Texts) -> Tensor:
        """Features (K, M, D) of M sentences for all members."""
        if not self.method.adapts_text:
            return self.problem.backbone.vectors(texts).expand(self.size, -1, -1)
        batches = texts.tokens.split(max(1, _SENTENCES[texts.tokens.device.type] // self.size))
        features = [self._encode_text(batch.repeat(self.size, 1)) for batch in batches]
        return torch.cat([part.unflatten(0, (self.size, -1)) for part in features], dim=1)

    def fit_head(self) -> None:
        """Trains the head to its optimum on the features as they are now."""
        train = self.problem.task.train
        self.objective.fit(gathered(self.encode(train), len(train)), train.labels)

    def begin_phase(self) -> None:
        """Starts the next run of the schedule, with a new head."""
        self.method.begin_phase(self.generators)
        self.objective.reset(self.problem, self.generators)

    def trained(self) -> dict[str, nn.Parameter]:
        """Everything that training changes, by name; the frozen model is not part of it."""
        parameters = {f"method.{name}": p for name, p in self.method.named_parameters()}
        parameters |= {f"objective.{name}": p for name, p in self.objective.named_parameters()}
        return {name: p for name, p in parameters.items() if p.requires_grad}


def initial_generators(spaces: Sequence[Space]) -> list[Generator]:
    """The source of each member's initial weights.

    It is not that of its training, so that members with other ranks see the same pictures in the same order.
    """
    return [Generator().manual_seed(space.training.seed) for space in spaces]


class PackEncoder:
    """What the members encode, each text and each smaller image set once."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._known: dict[int, list[Tensor]] = {}
        self._texts: dict[int, Tensor] = {}

    def parts(self, images: ImageSet) -> Iterator[Tensor]:
        """Features (K, n, D) of some images after the other."""
        key, values = id(images.pixels), self._learner.size * self._learner.problem.backbone.feature_size
        if key in self._known:
            yield from self._known[key]
            return
        known: list[Tensor] = []
        for part in self._learner.encode(images):
            yield part
            if values * len(images) <= _REMEMBERED:
                known.append(part)
        if known:
            self._known[key] = known

    def texts(self, texts: Texts) -> Tensor:
        """Features (K, M, D)."""
        if id(texts.tokens) not in self._texts:
            self._texts[id(texts.tokens)] = self._learner.encode_texts(texts)
        return self._texts[id(texts.tokens)]
