"""Selective projection decay, against the published equations written out for one tensor."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine import checkpoint
from trainables.engine.projection_decay import ProjectionDecay

MakeSpace = Callable[..., Space]

SHAPES = ((4, 3), (5,))


def published(w: Tensor, start: Tensor, strength: float, optimizer: torch.optim.Optimizer) -> None:
    """Equations 3, 4 and 9 of arXiv 2411.01713, around a step of an optimiser."""
    gradient, before = w.grad.clone(), w.detach().clone()
    c = -torch.sum(gradient * (before - start))
    optimizer.step()
    with torch.no_grad():
        gamma, gamma_before = torch.linalg.vector_norm(w - start), torch.linalg.vector_norm(before - start)
        if c < 0 and gamma > gamma_before:
            w -= strength * (gamma - gamma_before) / gamma * (w - start)


@pytest.mark.parametrize("from_zero", [True, False])
def test_each_tensor_of_each_member_is_held_as_published(from_zero: bool) -> None:
    generator, strengths = Generator().manual_seed(0), (1.0, 0.4, 0.0)
    pack = [torch.randn(3, *shape, generator=generator).requires_grad_() for shape in SHAPES]
    decay = ProjectionDecay(pack, strengths, from_zero)
    alone = [[p[k].detach().clone().requires_grad_() for p in pack] for k in range(3)]
    starts = [[torch.zeros_like(w) if from_zero else w.detach().clone() for w in each] for each in alone]
    optimizer = torch.optim.AdamW(pack, lr=0.05, weight_decay=0.0)
    others = [[torch.optim.AdamW([w], lr=0.05, weight_decay=0.0) for w in each] for each in alone]
    free = [p.detach().clone().requires_grad_() for p in pack]
    unheld = torch.optim.AdamW(free, lr=0.05, weight_decay=0.0)
    for _ in range(12):
        for n, p in enumerate(pack):
            p.grad = torch.randn(p.shape, generator=generator)
            free[n].grad = p.grad.clone()
            for k, each in enumerate(alone):
                each[n].grad = p.grad[k].clone()
        with decay.step():
            optimizer.step()
        unheld.step()
        for each, start, own, strength in zip(alone, starts, others, strengths, strict=True):
            for w, w0, one in zip(each, start, own, strict=True):
                published(w, w0, strength, one)
    for n, p in enumerate(pack):
        for k, each in enumerate(alone):
            torch.testing.assert_close(p[k], each[n])
        assert torch.equal(p[2], free[n][2]) and not torch.allclose(p[:2], free[n][:2])


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 1.2), (0.5, 1.1), (1.0, 1.0)])
def test_one_weight_that_momentum_carries_on(strength: float, expected: float) -> None:
    """It began at 0 and stands at 1; descent leads back, and the step goes on to 1.2."""
    weight = torch.ones(1, 1, requires_grad=True)
    weight.grad = torch.full((1, 1), 0.5)
    with ProjectionDecay([weight], [strength], from_zero=True).step(), torch.no_grad():
        weight += 0.2
    torch.testing.assert_close(weight.item(), expected)


@pytest.mark.parametrize("name", ["full", "lora", "taps", "top_k"])
def test_a_training_with_it_ends_nearer(problem: Problem, make_space: MakeSpace, name: str) -> None:
    """Of `full` the weights themselves are held, of adapters what they add."""
    own = {"layers": 1} if name == "top_k" else {}
    far = []
    for strength in (0.0, 1.0):
        training = Training(problem, [make_space(name, own, epochs=8, lr=1e-2, spd=strength)])
        for _ in range(8):
            training.train_epoch()
        before = problem.backbone.state_dict()
        merged = training.learner.method.merged(0).state_dict()
        far.append(sum(float((merged[key] - before[key]).square().sum()) for key in before) ** 0.5)
    assert far[1] < far[0]


@pytest.mark.parametrize("name", ["full", "lora"])
def test_an_interrupted_trial_remembers_where_weights_began(
    problem: Problem, make_space: MakeSpace, name: str
) -> None:
    space = make_space(name, epochs=3, lr=1e-2, spd=1.0)
    through, first, second = (Training(problem, [space]) for _ in range(3))
    for _ in range(3):
        through.train_epoch()
    first.train_epoch()
    checkpoint.restore(second, 0, checkpoint.capture(first, 0, []))
    for _ in range(2):
        second.train_epoch()
    for ours, theirs in zip(second.learner.parameters(), through.learner.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_closed_block_stands_still_under_it(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("selective_lora", {"lambda": 0.0}, spd=1.0, lr=1e-2, epochs=4)])
    training.train_epoch()
    method = training.learner.method
    with torch.no_grad():
        method.gates.scores[:, 0] = -1e3
    before = [p.detach().clone() for p in method.placed[0].parameters(recurse=False)]
    training.train_epoch()
    after = list(method.placed[0].parameters(recurse=False))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
