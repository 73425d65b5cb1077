"""The training loop, for a pack of trials over one frozen backbone."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trainables.learner import Learner
from trainables.measures import Metrics, by_member, out_of_distribution, retention, top1
from trainables.optimizer import PackedAdamW
from trainables.problem import Problem

Space = Mapping[str, Any]


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at a step counted from 1: a linear warm-up, then a half cosine to zero."""
    warm = max(1, round(warmup * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def best_device() -> str:
    """A GPU where this process may use one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Training:
    """K trials that share a backbone, a batch size and a schedule; all else is their own.

    Args:
        problem: what all trials share.
        spaces: the resolved space of each trial. The sections ``method`` and ``training`` are read.

    Attributes:
        epoch: epochs done.
        epochs: epochs asked for; 0 for a method that trains nothing.
    """

    def __init__(self, problem: Problem, spaces: Sequence[Space]) -> None:
        schedule = spaces[0]["training"]
        self.problem = problem
        self.generators = [Generator().manual_seed(space["training"]["seed"]) for space in spaces]
        self.learner = Learner(problem, [space["method"] for space in spaces], self.generators)
        self.adapter_optimizer, *self.score_optimizers = self._optimizers(spaces)
        self.batch_size = min(schedule["batch_size"], len(problem.task.train))
        self.batches = len(problem.task.train) // self.batch_size
        self.warmup = schedule["warmup"]
        self.epoch = 0
        self.epochs = schedule["epochs"] if self.learner.trained() else 0

    def _optimizers(self, spaces: Sequence[Space]) -> list[Any]:
        scores = self.learner.method.score_optimizers()
        apart = {id(p) for optimizer in scores for p in optimizer.parameters}
        adapter = PackedAdamW(
            [p for p in self.learner.trained().values() if id(p) not in apart],
            lr=[space["training"]["lr"] for space in spaces],
            weight_decay=[space["training"]["weight_decay"] for space in spaces],
        )
        return [adapter, *scores]

    def run_epoch(self) -> list[Metrics]:
        """Trains one epoch, then measures each member on the validation splits."""
        start = time.perf_counter()
        losses = self.run_batches(self.batches)
        self.epoch += 1
        metrics = self.validate()
        seconds = time.perf_counter() - start
        for member, loss in zip(metrics, losses.tolist(), strict=True):
            member.update(loss=loss, seconds=seconds)
        return metrics

    def run_batches(self, batches: int) -> Tensor:
        """Trains the first batches of an epoch; mean loss of each member, (K,)."""
        train = self.problem.task.train
        orders = torch.stack([torch.randperm(len(train), generator=g) for g in self.generators])
        orders = orders.to(train.labels.device)
        total = torch.zeros(self.learner.size, device=train.labels.device)
        for batch in range(batches):
            rows = orders[:, batch * self.batch_size : (batch + 1) * self.batch_size]
            loss = self._loss(train.pixels[rows.flatten()], train.labels[rows])
            loss.sum().backward()
            self._step(self.epoch * self.batches + batch + 1)
            total += loss.detach()
        return total / batches

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """(K,): task loss and the method's penalty. ``pixels`` (K * B, 3, H, W), ``labels`` (K, B)."""
        logits = self.learner(pixels)
        task = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return task.view_as(labels).mean(dim=1) + self.learner.method.penalty()

    def _step(self, number: int) -> None:
        share = learning_rate_share(number, self.epochs * self.batches, self.warmup)
        for optimizer in (self.adapter_optimizer, *self.score_optimizers):
            optimizer.step(number, share)

    def validate(self) -> list[Metrics]:
        """Metrics of each member on the validation splits, all that a search may see."""
        task, size, encode = self.problem.task, self.learner.size, self.learner.encoder()
        accuracy = top1(self.learner.classify(encode(task.val)), task.val.labels)
        probes = {f"probe/{p.name}": p.accuracy(encode, "val") for p in self.problem.probes}
        active = self.learner.method.active_blocks()
        return [
            {
                "id_accuracy": accuracy[k],
                **retention(scores, self.problem.reference or None, prefix=""),
                "active_blocks": len(active[k]),
                "active_fraction": len(active[k]) / len(self.learner.method.blocks),
                "epoch": self.epoch,
            }
            for k, scores in enumerate(by_member(probes, size))
        ]

    def test(self) -> list[Metrics]:
        """Metrics of each member on the test splits, for the report alone."""
        task, size, encode = self.problem.task, self.learner.size, self.learner.encoder()
        accuracy = top1(self.learner.classify(encode(task.test)), task.test.labels)
        ood = {
            name: top1(self.learner.classify(encode(images)), images.labels)
            for name, images in self.problem.ood.items()
        }
        probes = {f"probe/{p.name}": p.accuracy(encode, "test") for p in self.problem.probes}
        return [
            {
                "test/id_accuracy": accuracy[k],
                **out_of_distribution(shifts),
                **retention(scores, self.problem.reference or None, prefix="test/"),
            }
            for k, (shifts, scores) in enumerate(
                zip(by_member(ood, size), by_member(probes, size), strict=True)
            )
        ]


def measure_reference(problem: Problem, space: Space) -> Metrics:
    """Metrics of the untouched pre-trained model, on validation and test splits."""
    training = Training(problem.to(best_device()), [{**space, "method": {"name": "zero_shot"}}])
    return {**training.validate()[0], **training.test()[0]}
