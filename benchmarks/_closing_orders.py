"""Orders in which a path may close blocks, beside the one by score."""

from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from trainables.engine.training import Training
from trainables.methods.blocks import LowRankBlock
from trainables.methods.gated import GatedMethod

Ranking = Callable[[Training], Tensor]
"""Values (K, N): of the open blocks, those with the smallest close first."""

_BATCHES = 4  # of training pictures, on which gradients and losses are measured
_OPEN = 1.0  # above the threshold, so far above it that no step of a score closes a block


class Closing:
    """Has a path close its blocks by a ranking in the place of their scores.

    Args:
        training: of a path, before its first step.
        ranking: asked wherever a block has to close.
    """

    def __init__(self, training: Training, ranking: Ranking) -> None:
        method = training.learner.method
        assert isinstance(method, GatedMethod)
        self._training, self._method, self._ranking = training, method, ranking
        method._lower = self._lower  # type: ignore[method-assign]

    @torch.no_grad()
    def _lower(self) -> None:
        method, scores = self._method, self._method.gates.scores
        counts = method._falling[method._step][:, None]
        is_open = method.open().bool()
        if bool((is_open.sum(dim=1, keepdim=True) > counts).any()):
            ranked = self._ranking(self._training).masked_fill(~is_open, -torch.inf)
            place = ranked.argsort(dim=1, descending=True).argsort(dim=1)
            is_open &= place < counts
        scores.copy_(torch.where(is_open, _OPEN, -_OPEN))


def at_random(training: Training) -> Tensor:
    """One order for each seed."""
    blocks = len(training.learner.method.blocks)
    seeds = [space.training.seed for space in training.spaces]
    return torch.stack([torch.rand(blocks, generator=Generator().manual_seed(1000 + s)) for s in seeds])


def by_update(training: Training) -> Tensor:
    """The Frobenius norm of the update, |B A|, as `largest_norm` has it."""
    return torch.stack([block.matrices().flatten(1).norm(dim=1) for block in _placed(training)], dim=1)


class ByGradient:
    """The energy of the gradient of B at the start, summed over some batches (after arXiv 2605.06183)."""

    def __init__(self) -> None:
        self._energy: Tensor | None = None

    def measure(self, training: Training) -> None:
        """To be called before the first step: A is random and B zero, as a training starts."""
        placed, batches = _placed(training), list(training._drawn(min(_BATCHES, training.batches)))
        total = torch.zeros(training.learner.size, len(placed))
        for batch in batches:
            training.learner.loss(batch, 0).sum().backward()
            grads = [block.up.grad for block in placed]
            total += torch.stack([g.flatten(1).square().sum(dim=1) for g in grads if g is not None], dim=1)
            for parameter in training.learner.trained().values():
                parameter.grad = None
        self._energy = total
        # The pictures come in the order in which they would have come.
        for space, generator in zip(training.spaces, training.generators, strict=True):
            generator.manual_seed(space.training.seed)

    def __call__(self, training: Training) -> Tensor:
        """The energies (K, N)."""
        assert self._energy is not None
        return self._energy


class ByLoss:
    """By how much the loss on training pictures grows where a block alone is closed.

    Measured where a level begins to close blocks, for all that it closes.
    """

    def __init__(self) -> None:
        self._level = -1
        self._grown = torch.empty(0)

    def __call__(self, training: Training) -> Tensor:
        """The losses (K, N)."""
        method = training.learner.method
        assert isinstance(method, GatedMethod)
        level = bisect_right(training.levels.ends, method._step)
        if level != self._level:
            self._level, self._grown = level, _losses(training, method)
        return self._grown


def _losses(training: Training, method: GatedMethod) -> Tensor:
    learner = training.learner
    states = [generator.get_state() for generator in training.generators]
    batches = list(training._drawn(min(_BATCHES, training.batches)))
    for generator, state in zip(training.generators, states, strict=True):
        generator.set_state(state)
    scores, before = method.gates.scores, method.gates.scores.detach().clone()
    grown = []
    for place in range(len(method.blocks)):
        scores[:, place] = -_OPEN
        grown.append(torch.stack([learner.loss(batch, training.epoch) for batch in batches]).mean(dim=0))
        scores.copy_(before)
    return torch.stack(grown, dim=1)


def _placed(training: Training) -> list[LowRankBlock]:
    method = training.learner.method
    assert isinstance(method, GatedMethod)
    return [block for block in method.placed if isinstance(block, LowRankBlock)]
