"""A price on single ranks, against closed forms of soft thresholding."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator
from torch.nn.functional import softshrink

from trainables.backbones import ClipBackbone
from trainables.methods import Codyra, Method

MakePack = Callable[..., Method]

STEPS = 8
KAPPAS = (0.1, 0.25)


@pytest.fixture
def method(backbone: ClipBackbone, make_pack: MakePack) -> Codyra:
    made = make_pack(backbone, "codyra", *({"rank": 4, "kappa": kappa, "dense": 0.5} for kappa in KAPPAS))
    assert isinstance(made, Codyra)
    made.schedule([1.0] * STEPS, 1)
    return made


def test_the_price_grows_in_the_second_half(method: Codyra) -> None:
    """Scales that no task moves: what is taken in each step adds up."""
    start = [values.detach().clone() for values in method.values]
    taken = (0, 0, 0, 0, 1 / 4, 3 / 4, 6 / 4, 10 / 4)
    for step, share in enumerate(taken):
        method.advance(step)
        with method.updated():
            pass
        for values, before in zip(method.values, start, strict=True):
            for k, kappa in enumerate(KAPPAS):
                torch.testing.assert_close(values[k].detach(), softshrink(before[k], share * kappa))
    assert 0 < method.kept().sum() < method.kept().numel()


def test_its_steps_solve_a_lasso(method: Codyra) -> None:
    """With gradient steps at a rate a they minimise (s - c)^2 / 2 + (kappa / a) |s|."""
    generator, rate = Generator().manual_seed(4), 0.3
    centres = [torch.randn(values.shape, generator=generator) for values in method.values]
    optimizer = torch.optim.SGD(method.values, lr=rate)
    method.advance(STEPS)
    for _ in range(60):
        optimizer.zero_grad()
        sum(((s - c) ** 2).sum() / 2 for s, c in zip(method.values, centres, strict=True)).backward()
        with method.updated():
            optimizer.step()
    for values, centre in zip(method.values, centres, strict=True):
        for k, kappa in enumerate(KAPPAS):
            expected = softshrink(centre[k], kappa / rate)
            torch.testing.assert_close(values[k].detach(), expected, rtol=1e-4, atol=1e-5)
            assert torch.equal(values[k] == 0, expected == 0)
