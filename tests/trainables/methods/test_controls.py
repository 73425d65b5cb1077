"""The controls of the selection: blocks at random, and blocks by the norm of their updates."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones import Backbone
from trainables.engine import checkpoint
from trainables.engine.measures import Metrics
from trainables.engine.objectives import FreshHead
from trainables.methods import Method

MakePack = Callable[..., Method]
MakeSpace = Callable[..., Space]
Randomise = Callable[[Method], None]

EPOCHS = 2


def untimed(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if name not in ("seconds", "epoch")}


@pytest.fixture(params=["problem", "timm_problem"], ids=["open_clip", "timm"])
def any_problem(request: pytest.FixtureRequest) -> Problem:
    problem: Problem = request.getfixturevalue(request.param)
    return problem


def test_so_many_blocks_are_drawn_from_the_seed(any_backbone: Backbone, make_pack: MakePack) -> None:
    settings = [{"active_blocks": count} for count in (3, 3, 8)]
    method = make_pack(any_backbone, "random_blocks", *settings)
    first, second, third = method.active_blocks()
    assert [len(first), len(second), len(third)] == [3, 3, 8]
    assert set(first) != set(second) and third == method.blocks
    assert make_pack(any_backbone, "random_blocks", *settings).active_blocks() == method.active_blocks()


def test_every_block_is_drawn_as_often(any_backbone: Backbone, make_pack: MakePack) -> None:
    method = make_pack(any_backbone, "random_blocks", *(400 * [{"active_blocks": 2, "rank": 1}]))
    # Binomial with a mean of 100 and a deviation of 8.7.
    assert all(60 < count < 140 for count in method.open().sum(dim=0).tolist())


def test_the_blocks_that_were_drawn_are_pefts_lora_and_no_other(
    any_backbone: Backbone, make_pack: MakePack, randomise: Randomise, pixels: Tensor
) -> None:
    method = make_pack(any_backbone, "random_blocks", {"active_blocks": 3, "rank": 2})
    randomise(method)
    (active,) = method.active_blocks()
    fork = any_backbone.fork()
    paths = {name: fork.linears[name] for name in active}
    peft = inject_adapter_in_model(LoraConfig(r=2, lora_alpha=2, target_modules=list(paths.values())), fork)
    placed = dict(zip(method.blocks, method.placed, strict=True))
    with torch.no_grad():
        for name, path in paths.items():
            peft.get_submodule(path).lora_A["default"].weight.copy_(placed[name].down[0])
            peft.get_submodule(path).lora_B["default"].weight.copy_(placed[name].up[0])
    features = method(pixels)
    torch.testing.assert_close(features, peft(pixels), rtol=1e-4, atol=1e-4)
    features.square().sum().backward()
    assert {n for n, b in placed.items() if b.up.grad is not None and b.up.grad.any()} == set(active)
    layers = [placed[name].linear for name in active]
    assert method.trained_parameters() == [sum(2 * (x.in_features + x.out_features) for x in layers)]


@pytest.mark.parametrize("name", ["random_blocks", "largest_norm"])
def test_the_choice_outlives_a_restore_into_another_pack(
    any_problem: Problem, make_space: MakeSpace, name: str
) -> None:
    def pack(*seeds: int) -> Training:
        settings = {"active_blocks": 3}
        return Training(any_problem, [make_space(name, settings, epochs=1, seed=s, lr=1e-2) for s in seeds])

    trained, other = pack(1), pack(2, 3)
    for _ in range(trained.epochs):
        trained.run_epoch()
    (active,) = trained.learner.method.active_blocks()
    before = other.learner.method.active_blocks()
    checkpoint.restore(other, 1, checkpoint.capture(trained, 0, []))
    assert other.learner.method.active_blocks() == [before[0], active] != before


@pytest.fixture
def norm_space(make_space: MakeSpace) -> dict[str, Any]:
    return make_space(
        "largest_norm", {"active_blocks": 3, "rank": 4, "alpha": 2.0}, epochs=EPOCHS, lr=1e-2, seed=4
    )


def begin_second_phase(any_problem: Problem, space: Space) -> Training:
    """At the end of the first run."""
    training = Training(any_problem, [space])
    for _ in range(EPOCHS):
        (metrics,) = training.run_epoch()
    assert metrics["active_blocks"] == len(training.learner.method.blocks)
    return training


def test_the_largest_updates_are_kept(any_problem: Problem, norm_space: dict[str, Any]) -> None:
    training = begin_second_phase(any_problem, norm_space)
    assert training.epochs == 2 * EPOCHS
    method = training.learner.method
    norms = {
        name: torch.linalg.norm(2.0 / 4 * block.up[0] @ block.down[0]).item()
        for name, block in zip(method.blocks, method.placed, strict=True)
    }
    (metrics,) = training.run_epoch()
    largest = sorted(norms, key=lambda name: norms[name], reverse=True)[:3]
    assert set(method.active_blocks()[0]) == set(largest)
    assert metrics["active_blocks"] == 3


def test_the_second_run_starts_from_the_pre_trained_model(
    any_problem: Problem, norm_space: dict[str, Any], pixels: Tensor
) -> None:
    training = begin_second_phase(any_problem, norm_space)
    method, objective = training.learner.method, training.learner.objective
    first = {name: p.detach().clone() for name, p in training.learner.trained().items()}
    assert not torch.allclose(method(pixels), any_problem.backbone(pixels), rtol=0.01)
    training.learner.begin_phase()
    assert torch.equal(method(pixels), any_problem.backbone(pixels))
    for block in method.placed:
        assert not block.up.any() and block.down.all()
    assert not any(torch.equal(p, first[name]) for name, p in training.learner.trained().items())
    if isinstance(objective, FreshHead):
        assert not objective.bias.any()
        assert objective.weight.std().item() == pytest.approx(0.01, rel=0.2)
    else:
        scaled = any_problem.backbone.logit_scale * any_problem.class_vectors
        assert torch.equal(objective.weight[0], scaled)


def test_the_second_run_is_a_run_of_its_own(
    any_problem: Problem, norm_space: dict[str, Any], make_space: MakeSpace
) -> None:
    """Its schedule and its moments start anew: it is LoRA on these blocks, from the same random state."""
    training = begin_second_phase(any_problem, norm_space)
    state = training.generators[0].get_state()
    second = [training.run_epoch()[0] for _ in range(EPOCHS)]

    alone = Training(
        any_problem, [make_space("random_blocks", dict(norm_space.method), **dict(norm_space.training))]
    )
    alone.generators[0].set_state(state)
    for block in alone.learner.method.placed:
        block.reset(alone.generators)
    alone.learner.objective.reset(any_problem, alone.generators)
    alone.learner.method.chosen.copy_(training.learner.method.chosen)
    for metrics in second:
        assert untimed(alone.run_epoch()[0]) == untimed(metrics)


@pytest.mark.parametrize("epochs_before", [1, 2, 3])
def test_a_trial_that_stops_in_either_run_ends_as_one_that_never_did(
    any_problem: Problem, norm_space: dict[str, Any], epochs_before: int
) -> None:
    through, first, second = (Training(any_problem, [norm_space]) for _ in range(3))
    expected = [untimed(through.run_epoch()[0]) for _ in range(2 * EPOCHS)]
    for _ in range(epochs_before):
        first.run_epoch()
    checkpoint.restore(second, 0, checkpoint.capture(first, 0, []))
    rest = [untimed(second.run_epoch()[0]) for _ in range(2 * EPOCHS - epochs_before)]
    assert rest == expected[epochs_before:]
    assert second.test() == through.test()
    mine, theirs = (checkpoint.capture(training, 0, []).tensors for training in (second, through))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
