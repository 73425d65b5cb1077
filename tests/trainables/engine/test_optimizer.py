from collections.abc import Sequence

import pytest
import torch
from torch import Generator, Tensor

from trainables.engine.optimizer import PackedAdamW, PackedSGD

RATES = [1e-2, 3e-3, 0.2]
DECAYS = [0.0, 0.1, 0.5]
SHAPES = ((5,), (4, 3), (2, 3, 2))
FACTORS = (0.5, 1.0, 0.7, 0.2)


def random_tensors(shapes: Sequence[tuple[int, ...]], generator: Generator) -> list[Tensor]:
    return [torch.randn(shape, generator=generator) for shape in shapes]


def run_packed(
    optimizer: PackedAdamW | PackedSGD, gradients: Sequence[Sequence[Tensor]], factors: Sequence[float]
) -> None:
    for step, factor in zip(gradients, factors, strict=True):
        for parameter, gradient in zip(optimizer.parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(factor)


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


# Numbers that one operation steps: all of them, and one parameter at a time.
@pytest.mark.parametrize("at_once", [2**24, 20])
def test_packed_adamw_is_torchs_adamw_for_every_member(
    generator: Generator, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.engine.optimizer._AT_ONCE", at_once)
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


@pytest.mark.parametrize("left", [(0, 2), (1,), ()])
def test_parameters_that_lose_their_gradient_stay_where_they_are(
    generator: Generator, left: tuple[int, ...]
) -> None:
    """As a block does that is closed for good; the others go on as if nothing had happened."""
    shapes = [(1, *shape) for shape in SHAPES]
    start = random_tensors(shapes, generator)
    gradients = [random_tensors(shapes, generator) for _ in FACTORS]
    packed, alone = ([tensor.clone().requires_grad_() for tensor in start] for _ in range(2))
    ours, theirs = PackedAdamW(packed, [1e-2], [0.1]), torch.optim.AdamW(alone, lr=1e-2, weight_decay=0.1)
    for number, step in enumerate(gradients, start=1):
        live = range(len(shapes)) if number <= 2 else left
        for place in live:
            packed[place].grad, alone[place].grad = step[place].clone(), step[place].clone()
        ours.step(1.0)
        theirs.step()
        theirs.zero_grad()
    for mine, reference in zip(packed, alone, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-6, atol=1e-6)


OWNERS = (0, 1, 1)
# Blocks that are closed from the start, close, open again, and stay open, each in another way in each member.
OPEN = torch.tensor(
    [
        [[0, 1], [1, 1], [1, 0], [0, 0], [1, 1], [1, 0]],
        [[1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]],
        [[1, 0], [0, 1], [0, 0], [1, 0], [1, 1], [0, 1]],
    ]
).transpose(0, 1)  # (steps, members, blocks)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "momentum"])
def test_a_closed_block_is_as_a_parameter_without_a_gradient_is_to_torch(
    generator: Generator, kind: str
) -> None:
    """Whatever gradient it has: its weights, moments and count of steps stand still in that member."""
    shapes = [(len(RATES), *shape) for shape in SHAPES]
    start = random_tensors(shapes, generator)
    gradients = [random_tensors(shapes, generator) for _ in OPEN]
    packed = [tensor.clone().requires_grad_() for tensor in start]
    ours = {
        "adamw": lambda: PackedAdamW(packed, RATES, DECAYS, OWNERS),
        "sgd": lambda: PackedSGD(packed, RATES, DECAYS, 0.0, OWNERS),
        "momentum": lambda: PackedSGD(packed, RATES, DECAYS, 0.9, OWNERS),
    }[kind]()
    alone = [[tensor[k].clone().requires_grad_() for tensor in start] for k in range(len(RATES))]
    theirs = [
        torch.optim.AdamW(own, rate, weight_decay=decay)
        if kind == "adamw"
        else torch.optim.SGD(own, rate, 0.9 if kind == "momentum" else 0.0, weight_decay=decay)
        for own, rate, decay in zip(alone, RATES, DECAYS, strict=True)
    ]
    for step, is_open in zip(gradients, OPEN, strict=True):
        before = [tensor.detach().clone() for tensor in packed]
        for parameter, gradient in zip(packed, step, strict=True):
            parameter.grad = gradient.clone()
        ours.step(1.0, is_open)
        for k, optimizer in enumerate(theirs):
            for place, owner in enumerate(OWNERS):
                alone[k][place].grad = step[place][k].clone() if is_open[k, owner] else None
                if not is_open[k, owner]:
                    assert torch.equal(packed[place][k], before[place][k])
            optimizer.step()
    for k, own in enumerate(alone):
        for mine, reference in zip(packed, own, strict=True):
            torch.testing.assert_close(mine[k], reference, rtol=1e-6, atol=1e-6)
    assert ours.steps.tolist() == OPEN.sum(dim=0).tolist()


def test_a_parameter_keeps_its_value_and_its_shape_when_steps_begin(generator: Generator) -> None:
    """And its place in memory, of which nothing else has a part."""
    packed = [tensor.requires_grad_() for tensor in random_tensors([(3, *s) for s in SHAPES], generator)]
    held, before = list(packed), [tensor.detach().clone() for tensor in packed]
    places = [tensor.data_ptr() for tensor in packed]
    optimizer = PackedAdamW(packed, [0.0] * 3, [0.0] * 3)
    for parameter in packed:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1.0)
    for mine, theirs, value in zip(packed, held, before, strict=True):
        assert mine is theirs and mine.is_leaf and mine.requires_grad
        torch.testing.assert_close(mine, value, rtol=0, atol=0)
        assert mine.untyped_storage().nbytes() == mine.nbytes
    assert [tensor.data_ptr() for tensor in packed] == places
    assert [t.shape for t in optimizer.state()] == [t.shape for t in packed] * 2 + [(3, 1)]


@pytest.mark.parametrize("optimizer", [PackedAdamW([], [0.1], [0.0]), PackedSGD([torch.ones(1, 2)], [0.1])])
def test_parameters_without_a_gradient_stay(optimizer: PackedAdamW | PackedSGD) -> None:
    before = [p.clone() for p in optimizer.parameters]
    optimizer.step(1.0)
    assert all(torch.equal(p, b) for p, b in zip(optimizer.parameters, before, strict=True))


def test_a_step_uses_its_gradients_up(generator: Generator) -> None:
    parameter = torch.ones(1, 2, requires_grad=True)
    for optimizer in (PackedAdamW([parameter], [0.1], [0.0]), PackedSGD([parameter], [0.1])):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step(1.0)
        assert parameter.grad is None
