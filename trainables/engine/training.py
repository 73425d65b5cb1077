"""The training loop, for a pack of trials over one frozen backbone."""

import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Generator, Tensor

from trainables.data.loader import Reader, Stream
from trainables.engine.augment import LARGEST_DRAW, Augmentation, Augmented, mixup
from trainables.engine.batch import Batch
from trainables.engine.clipping import ClipNorm
from trainables.engine.learner import Learner
from trainables.engine.loss_scale import LossScale
from trainables.engine.measures import Metrics, accuracy, by_member, out_of_distribution, retention
from trainables.engine.optimizer import Packed
from trainables.engine.parameter_groups import make_optimizers
from trainables.engine.points import Point, leave_points
from trainables.engine.prefix import Prefix
from trainables.engine.projection_decay import ProjectionDecay
from trainables.engine.step import RecordedStep, Step
from trainables.methods.untouched import untouched
from trainables.problem import Problem
from trainables.sections import Space


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at a step counted from 1: a linear warm-up, then a half cosine to zero."""
    warm = max(1, round(warmup * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class Training:
    """K trials that share a backbone, a batch size and a schedule; all else is their own.

    Args:
        problem: what all trials share.
        spaces: the resolved space of each trial. The sections ``method`` and ``training`` are read.
        prefix: runs the layers that no trial has changed, and may serve one training after the other; None
            runs all layers for every trial. The numbers are the same but for rounding.

    Attributes:
        epoch: epochs done.
        points: the finished models that each member has left on its way.
        epochs: epochs asked for, over all phases of the method; 0 for a method that trains nothing.
    """

    def __init__(self, problem: Problem, spaces: Sequence[Space], prefix: Prefix | None = None) -> None:
        self.schedule = spaces[0].training
        self.spaces = spaces
        self.problem = problem
        self.generators = [Generator().manual_seed(space.training.seed) for space in spaces]
        self.learner = Learner(problem, spaces, self.generators, prefix)
        self._begin_steps()
        self.batch_size = min(self.schedule.batch_size, len(problem.task.train))
        self.batches = len(problem.task.train) // self.batch_size
        self.epoch = 0
        self.points: list[list[Point]] = [[] for _ in spaces]
        phases = self.learner.method.phases if self.learner.trained() else 0
        self.epochs = phases * self.schedule.epochs
        self.steps = self.schedule.epochs * self.batches
        self.levels = self.learner.method.levels(self.steps)
        shares = [self._share(step) for step in range(1, self.steps + 1)]
        self.learner.method.schedule(shares, self.schedule.epochs)

    def _share(self, step: int) -> float:
        ends = (0, *self.levels.ends)
        level = min(bisect_left(ends, step), len(ends) - 1)
        start = ends[level - 1]
        return learning_rate_share(step - start, ends[level] - start, self.schedule.warmup)

    def _begin_steps(self) -> None:
        """Optimisers that remember nothing yet, and a step that uses them."""
        trainings = [space.training for space in self.spaces]
        weights = make_optimizers(self.learner, trainings)
        self.optimizers: list[Packed] = [*weights, *self.learner.method.score_optimizers()]
        # A price on the scores means what it says: their gradient keeps its length.
        clipped = [p for optimizer in weights for p in optimizer.parameters]
        clip = ClipNorm(clipped, [training.clip_norm for training in trainings])
        # The head is no part of what was pre-trained.
        adapted = {id(p) for p in self.learner.method.parameters()}
        decay = ProjectionDecay(
            [p for p in clipped if id(p) in adapted],
            [training.spd for training in trainings],
            from_zero=self.learner.method.packable,
        )
        narrow = self.schedule.precision == "float16"
        self.scale = LossScale(self.learner.size, self.problem.backbone.mean.device) if narrow else None
        kind = RecordedStep if self.problem.backbone.mean.is_cuda else Step
        self._step = kind(self.learner, self.optimizers, clip, self.scale, self.schedule.accumulate, decay)

    def run_epoch(self) -> list[Metrics]:
        """Trains one epoch, then measures each member on the validation splits, if that is its turn."""
        start = time.perf_counter()
        losses = self.train_epoch()
        turn = self.epoch % self.schedule.validate_every == 0 or self.epoch == self.epochs
        metrics: list[Metrics] = self.validate() if turn else [{"epoch": self.epoch} for _ in self.spaces]
        seconds = time.perf_counter() - start
        of_gates = self.learner.method.gate_metrics()
        for member, loss, gates in zip(metrics, losses.tolist(), of_gates, strict=True):
            member.update(loss=loss, seconds=seconds, **gates)
        return metrics

    def train_epoch(self) -> Tensor:
        """Trains one epoch; mean loss of each member, (K,)."""
        if self.epoch == 0 and self.learner.method.fits_head:
            self.learner.fit_head()
        elif self.epoch and self.epoch % self.schedule.epochs == 0:
            self.learner.begin_phase()
            self._begin_steps()
        if self.epoch == 0 and self.learner.method.previews:
            self._preview()
        losses = self.run_batches(self.batches)
        self.epoch += 1
        return losses

    def _preview(self) -> None:
        """Lets the method see the gradients of an epoch, and moves nothing."""
        with self.learner.method.preview():
            for batch in self._drawn(self.batches):
                for part in batch.parts(self.schedule.accumulate):
                    (self.learner.loss(part, 0) * part.rows.shape[1]).sum().backward()
        for weight in self.learner.trained().values():
            weight.grad = None

    def run_batches(self, batches: int) -> Tensor:
        """Trains the first batches of an epoch; mean loss of each member, (K,)."""
        done = self.epoch % self.schedule.epochs * self.batches
        self.learner.method.advance(done)
        total = torch.zeros(self.learner.size, device=self.problem.task.train.labels.device)
        for number, batch in enumerate(self._drawn(batches), start=done + 1):
            total += self._step.run(batch, self.epoch, self._share(number))
            self.learner.method.advance(number)
            if number in self.levels.ends:
                leave_points(self, number)
        return total / batches

    def _drawn(self, batches: int) -> Iterator[Batch]:
        """The first batches of an epoch: what is the same for all members is there once."""
        train = self.problem.task.train
        orders, seeds = self._draw()
        stream = self._stream(orders, seeds, batches)
        alpha, classes = self.schedule.mixup, len(self.problem.task.classes)
        # All rows are on the device before the first step, so that no step waits for its own.
        on_device = orders.to(train.labels.device).split(self.batch_size, dim=1)
        for number in range(batches):
            mix = mixup(alpha, classes, seeds[:, number * self.batch_size]) if alpha else None
            read = partial(stream.read, number) if stream else None
            yield Batch(train, on_device[number], read, mix, self._augmented is not None)

    def _stream(self, orders: Tensor, seeds: Tensor, batches: int) -> Stream | None:
        """The pixels of the first batches; None where they are in memory as they are."""
        if self._reader is None:
            return None
        rows, each = (
            [part.flatten() for part in drawn.split(self.batch_size, dim=1)[:batches]]
            for drawn in (orders, seeds)
        )
        drawn = rows if self._augmented is None else list(zip(rows, each, strict=True))
        return Stream(self._reader, drawn, self.problem.task.train.labels.device)

    @cached_property
    def _reader(self) -> Reader[Any, Tensor] | None:
        """Of the pictures to learn from; None where they are in memory as they are."""
        train = self.problem.task.train
        source = self._augmented or train.pixels
        pinned = train.labels.device.type == "cuda"
        return None if isinstance(source, Tensor) else Reader(source, self.problem.workers, pinned)

    def _draw(self) -> tuple[Tensor, Tensor]:
        """The order of an epoch's pictures and a seed for each, (G, N): G is 1 if all members' are equal."""
        count = len(self.problem.task.train)
        orders = torch.stack([torch.randperm(count, generator=g) for g in self.generators])
        seeds = torch.zeros_like(orders)
        if self._augmented is not None or self.schedule.mixup:
            each = [torch.randint(LARGEST_DRAW, (count,), generator=g) for g in self.generators]
            seeds = torch.stack(each)
        same = all((drawn == drawn[:1]).all() for drawn in (orders, seeds))
        groups = slice(1 if same else None)
        return orders[groups], seeds[groups]

    @cached_property
    def _augmented(self) -> Augmented | None:
        """The pictures to learn from as they are changed at random; None where they are not."""
        train, settings = self.problem.task.train, self.schedule
        augmentation = Augmentation(
            self.problem.backbone.preprocessing.size,
            settings.crop,
            settings.flip,
            settings.randaugment,
            getattr(self.problem.backbone.preprocessing, "interpolation", "bicubic"),
        )
        if not augmentation:
            return None
        if settings.crop < 1 and train.whole is not None:
            return Augmented(train.whole.made_ready(), augmentation)
        pixels = train.pixels
        return Augmented(pixels.cpu() if isinstance(pixels, Tensor) else pixels, augmentation)

    def learned(self, member: int) -> Iterator[tuple[str, Tensor]]:
        """The member's part of every tensor that the trained model is made of, by name."""
        yield from ((f"trained/{name}", self._part(p, member)) for name, p in self.learner.trained().items())
        for name, tensor in self.learner.method.decided().items():
            yield f"decided/{name}", self._part(tensor, member)

    def moved(self, member: int) -> Iterator[tuple[str, Tensor]]:
        """The member's part of every tensor that the steps remember, by name."""
        for number, optimizer in enumerate(self.optimizers):
            for place, tensor in enumerate(optimizer.state()):
                yield f"optimizer/{number}/{place}", self._part(tensor, member)
        if self.scale:
            yield "loss_scale", self._part(self.scale.scale, member)
            yield "loss_scale/made", self._part(self.scale.made, member)

    def _part(self, tensor: Tensor, member: int) -> Tensor:
        return tensor[member : member + 1] if self.learner.method.packable else tensor

    @torch.no_grad()
    def validate(self) -> list[Metrics]:
        """Metrics of each member on the validation splits, all that a search may see."""
        method, encoder = self.learner.method, self.learner.encoder()
        task = self.problem.task.val
        answered = accuracy(self.learner.objective.logits(encoder.parts(task), encoder), task)
        probes = {f"probe/{p.name}": p.accuracy(encoder, "val") for p in self.problem.probes}
        active, trained = method.active_blocks(), method.trained_parameters()
        return [
            {
                "id_accuracy": answered[k],
                **retention(scores, self.problem.reference or None, prefix=""),
                "active_blocks": len(active[k]),
                "active_fraction": len(active[k]) / max(1, len(method.blocks)),
                "trained_parameters": trained[k],
                "epoch": self.epoch,
            }
            for k, scores in enumerate(by_member(probes, self.learner.size))
        ]

    @torch.no_grad()
    def test(self) -> list[Metrics]:
        """Metrics of each member on the test splits, for the report alone."""
        size, encoder = self.learner.size, self.learner.encoder()
        sets = {"": self.problem.task.test, **self.problem.ood}
        answered = {
            name: accuracy(self.learner.objective.logits(encoder.parts(images), encoder), images)
            for name, images in sets.items()
        }
        task = answered.pop("")
        probes = {f"probe/{p.name}": p.accuracy(encoder, "test") for p in self.problem.probes}
        return [
            {
                "test/id_accuracy": task[k],
                **out_of_distribution(shifts),
                **retention(scores, self.problem.reference or None, prefix="test/"),
            }
            for k, (shifts, scores) in enumerate(
                zip(by_member(answered, size), by_member(probes, size), strict=True)
            )
        ]


def measure_reference(problem: Problem, space: Space) -> Metrics:
    """Metrics of the untouched pre-trained model, on validation and test splits.

    A model that reads no text cannot name the task's classes: then only the probes are measured.
    """
    training = Training(problem, [untouched(space, objective="cross_entropy", head=None)])
    metrics = {**training.validate()[0], **training.test()[0]}
    if problem.prompts is None:
        metrics = {name: value for name, value in metrics.items() if "probe" in name or "retained" in name}
    return metrics
