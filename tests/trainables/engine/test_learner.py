"""The retention term and the precision of a pack."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine import retention
from trainables.engine.batch import Batch
from trainables.engine.learner import Learner
from trainables.methods import METHODS
from trainables.methods.blocks import Block, LowRankBlock, Members

MakeSpace = Callable[..., Space]

WEIGHTS = (0.0, 0.5, 4.0)
STARTS_AS_PRE_TRAINED = ("selective_lora", "lora", "taps", "random_blocks", "linear")


@pytest.fixture(params=["problem", "timm_problem"], ids=["open_clip", "timm"])
def any_problem(request: pytest.FixtureRequest) -> Problem:
    problem: Problem = request.getfixturevalue(request.param)
    return problem


def pack(problem: Problem, *spaces: dict[str, Any]) -> Learner:
    return Learner(problem, spaces, [Generator().manual_seed(0) for _ in spaces])


@torch.no_grad()
def randomise(learner: Learner) -> None:
    """Gives every member other updates."""
    for parameter in learner.method.updates().values():
        parameter.normal_(0, 0.3, generator=Generator().manual_seed(3))


def batch(problem: Problem, members: int) -> Batch:
    train = problem.task.train
    return Batch(train, torch.arange(len(train)).repeat(members, 1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", STARTS_AS_PRE_TRAINED)
def test_retention_costs_nothing_at_the_start(
    any_problem: Problem, make_space: MakeSpace, name: str, precision: str
) -> None:
    with_it = pack(any_problem, *(make_space(name, retention=w, precision=precision) for w in WEIGHTS))
    without = pack(any_problem, *(make_space(name, precision=precision) for _ in WEIGHTS))
    images = batch(any_problem, len(WEIGHTS))
    assert torch.equal(with_it.loss(images, 0), without.loss(images, 0))


@pytest.mark.parametrize("name", ["lora", "taps"])
def test_retention_is_the_squared_distance_of_unit_features_by_each_members_weight(
    any_problem: Problem, make_space: MakeSpace, name: str
) -> None:
    """|u - v|^2 = 2 - 2 cos(u, v)."""
    with_it = pack(any_problem, *(make_space(name, retention=weight) for weight in WEIGHTS))
    without = pack(any_problem, *(make_space(name) for _ in WEIGHTS))
    randomise(with_it), randomise(without)
    images = batch(any_problem, len(WEIGHTS))
    added = with_it.loss(images, 0) - without.loss(images, 0)
    features = with_it.method(images.pixels).unflatten(0, (len(WEIGHTS), -1))
    before = any_problem.backbone(any_problem.task.train.pixels)
    for k, weight in enumerate(WEIGHTS):
        expected = weight * (2 - 2 * F.cosine_similarity(features[k], before, dim=-1)).mean()
        torch.testing.assert_close(added[k], expected, rtol=1e-3, atol=1e-4)
    assert added[2] > added[1] > 0 and added[0] == 0


def test_retention_pulls_features_back(any_problem: Problem, make_space: MakeSpace) -> None:
    """Its gradient alone: a step down it is a step towards the pre-trained features."""
    learner = pack(any_problem, make_space("full", retention=1.0))
    with torch.no_grad():
        for parameter in learner.method.updates().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=Generator().manual_seed(1)))
    images = batch(any_problem, 1)
    before = any_problem.backbone(images.pixels)

    def distance() -> float:
        return (1 - F.cosine_similarity(learner.method(images.pixels), before, dim=-1)).mean().item()

    far = distance()
    retention.distance(learner._features(images), before[None]).sum().backward()
    with torch.no_grad():
        for parameter in learner.method.updates().values():
            parameter -= 0.01 * parameter.grad
    assert distance() < far


def test_retained_training_stays_closer(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("lora", retention=w, lr=1e-2, epochs=4) for w in (0.0, 30.0)])
    for _ in range(training.epochs):
        training.run_epoch()
    features = torch.cat(list(training.learner.encoder().parts(problem.task.val)), dim=1)
    before = problem.backbone(problem.task.val.pixels)
    free, held = F.cosine_similarity(features, before[None], dim=-1).mean(dim=1).tolist()
    assert 1 - held < 0.5 * (1 - free)


@pytest.mark.parametrize("name", ["selective_lora", "taps", "full", "block_expansion"])
def test_bfloat16_is_near_float32_and_comes_back_as_it(
    any_problem: Problem, make_space: MakeSpace, name: str
) -> None:
    exact, fast = (pack(any_problem, make_space(name, precision=p)) for p in ("float32", "bfloat16"))
    if name in ("selective_lora", "taps"):
        randomise(exact), randomise(fast)
    images = any_problem.task.val
    mine, theirs = (
        torch.cat(list(fast.encoder().parts(images)), dim=1),
        torch.cat(list(exact.encoder().parts(images)), dim=1),
    )
    assert mine.dtype == torch.float32
    assert not torch.equal(mine, theirs)
    assert F.cosine_similarity(mine, theirs, dim=-1).min() > 0.99
    loss, reference = (learner.loss(batch(any_problem, 1), 0) for learner in (fast, exact))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, reference, rtol=0.1, atol=0.1)
    assert all(p.dtype == torch.float32 for p in fast.trained().values())


@pytest.mark.parametrize("name", ["selective_lora", "taps"])
def test_closed_gates_are_the_pre_trained_model_to_the_bit_in_bfloat16_too(
    any_problem: Problem, make_space: MakeSpace, name: str
) -> None:
    learner = pack(any_problem, *2 * (make_space(name, precision="bfloat16"),))
    randomise(learner)
    with torch.no_grad():
        learner.method.gates.scores[1] = 0.0
    images = any_problem.task.val
    with torch.autocast("cpu", torch.bfloat16):
        untouched = any_problem.backbone(images.pixels)
    opened, closed = torch.cat(list(learner.encoder().parts(images)), dim=1)
    assert torch.equal(closed, untouched.float()) and not torch.equal(opened, closed)


@pytest.mark.parametrize("name", ["selective_lora", "taps"])
def test_a_closed_block_costs_nothing_in_evaluation_and_is_back_in_training(
    any_problem: Problem, make_space: MakeSpace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = pack(any_problem, *3 * (make_space(name),))
    method = learner.method
    randomise(learner)
    with torch.no_grad():
        method.gates.scores.uniform_(0, 0.2, generator=Generator().manual_seed(5))
        every_block = method(any_problem.task.val.pixels.repeat(3, 1, 1, 1)).unflatten(0, (3, -1))
    ran: list[int] = []
    kind = type(method.placed[0])
    monkeypatch.setattr(LowRankBlock, "_plain", False)
    update = kind.adapt

    def counted(block: Block, frozen: Tensor, x: Tensor, members: Members) -> Tensor:
        ran.append(len(x))
        return update(block, frozen, x, members)

    monkeypatch.setattr(kind, "adapt", counted)
    torch.testing.assert_close(
        torch.cat(list(learner.encoder().parts(any_problem.task.val)), dim=1),
        every_block,
        rtol=1e-4,
        atol=1e-5,
    )
    is_open = int(method.open().sum())
    assert 0 < sum(ran) == is_open < method.open().numel()
    ran.clear()
    learner.loss(batch(any_problem, 3), 0).sum().backward()
    assert sum(ran) == method.open().numel() and method.gates.scores.grad.all()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "zero_shot"])
def test_training_in_bfloat16_learns(any_problem: Problem, make_space: MakeSpace, name: str) -> None:
    lr = 1e-5 if name == "lp_ft" else 1e-2
    space = make_space(name, epochs=6, lr=lr, batch_size=24, precision="bfloat16", retention=0.1)
    training = Training(any_problem, [space])
    losses = [training.run_epoch()[0]["loss"] for _ in range(6)]
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]


def test_both_towers_train_in_bfloat16(problem: Problem, make_space: MakeSpace) -> None:
    settings = {"towers": ("image", "text")}
    space = make_space("lora", settings, objective="flyp", epochs=6, lr=1e-2, precision="bfloat16")
    training = Training(problem, [space])
    losses = [training.run_epoch()[0]["loss"] for _ in range(training.epochs)]
    assert losses[-1] < losses[0]
