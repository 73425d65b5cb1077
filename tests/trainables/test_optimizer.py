from collections.abc import Sequence

import pytest
import torch
from torch import Generator, Tensor

from trainables.optimizer import PackedAdamW, PackedSGD

RATES = [1e-2, 3e-3, 0.2]
DECAYS = [0.0, 0.1, 0.5]
SHAPES = ((5,), (4, 3), (2, 3, 2))
FACTORS = (0.5, 1.0, 0.7, 0.2)


def random_tensors(shapes: Sequence[tuple[int, ...]], generator: Generator) -> list[Tensor]:
    return [torch.randn(shape, generator=generator) for shape in shapes]


def run_packed(
    optimizer: PackedAdamW | PackedSGD, gradients: Sequence[Sequence[Tensor]], factors: Sequence[float]
) -> None:
    for number, (step, factor) in enumerate(zip(gradients, factors, strict=True), start=1):
        for parameter, gradient in zip(optimizer.parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(number, factor)


def run_torch(
    optimizer: torch.optim.Optimizer, gradients: Sequence[Sequence[Tensor]], factors: Sequence[float]
) -> None:
    (group,) = optimizer.param_groups
    rate = group["lr"]
    for step, factor in zip(gradients, factors, strict=True):
        group["lr"] = rate * factor
        for parameter, gradient in zip(group["params"], step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(0)


def test_packed_adamw_is_torchs_adamw_for_every_member(generator: Generator) -> None:
    shapes = [(len(RATES), *shape) for shape in SHAPES]
    start = random_tensors(shapes, generator)
    gradients = [random_tensors(shapes, generator) for _ in FACTORS]
    packed = [tensor.clone().requires_grad_() for tensor in start]
    run_packed(PackedAdamW(packed, RATES, DECAYS), gradients, FACTORS)

    for k, (rate, decay) in enumerate(zip(RATES, DECAYS, strict=True)):
        alone = [tensor[k].clone().requires_grad_() for tensor in start]
        own = [[gradient[k] for gradient in step] for step in gradients]
        run_torch(torch.optim.AdamW(alone, lr=rate, weight_decay=decay), own, FACTORS)
        for mine, reference in zip(packed, alone, strict=True):
            torch.testing.assert_close(mine[k], reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decays", [None, DECAYS], ids=["plain", "decayed"])
def test_packed_sgd_is_torchs_sgd_for_every_member(
    generator: Generator, momentum: float, decays: list[float] | None
) -> None:
    shapes = [(len(RATES), *shape) for shape in SHAPES]
    start = random_tensors(shapes, generator)
    gradients = [random_tensors(shapes, generator) for _ in FACTORS]
    packed = [tensor.clone().requires_grad_() for tensor in start]
    run_packed(PackedSGD(packed, RATES, decays, momentum), gradients, FACTORS)

    for k, (rate, decay) in enumerate(zip(RATES, decays or [0.0] * len(RATES), strict=True)):
        alone = [tensor[k].clone().requires_grad_() for tensor in start]
        own = [[gradient[k] for gradient in step] for step in gradients]
        run_torch(torch.optim.SGD(alone, rate, momentum, weight_decay=decay), own, FACTORS)
        for mine, reference in zip(packed, alone, strict=True):
            torch.testing.assert_close(mine[k], reference, rtol=1e-6, atol=1e-6)


def test_a_pack_of_one_takes_parameters_of_any_shape(generator: Generator) -> None:
    start = random_tensors(SHAPES, generator)
    gradients = [random_tensors(SHAPES, generator) for _ in FACTORS]
    packed = [tensor.clone().requires_grad_() for tensor in start]
    alone = [tensor.clone().requires_grad_() for tensor in start]
    run_packed(PackedAdamW(packed, [1e-2], [0.1]), gradients, FACTORS)
    run_torch(torch.optim.AdamW(alone, lr=1e-2, weight_decay=0.1), gradients, FACTORS)
    for mine, reference in zip(packed, alone, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", [PackedAdamW([], [0.1], [0.0]), PackedSGD([torch.ones(1, 2)], [0.1])])
def test_parameters_without_a_gradient_stay(optimizer: PackedAdamW | PackedSGD) -> None:
    before = [p.clone() for p in optimizer.parameters]
    optimizer.step(1, 1.0)
    assert all(torch.equal(p, b) for p, b in zip(optimizer.parameters, before, strict=True))


def test_a_step_uses_its_gradients_up(generator: Generator) -> None:
    parameter = torch.ones(1, 2, requires_grad=True)
    for optimizer in (PackedAdamW([parameter], [0.1], [0.0]), PackedSGD([parameter], [0.1])):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step(1, 1.0)
        assert parameter.grad is None
