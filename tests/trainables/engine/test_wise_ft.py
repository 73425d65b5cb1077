"""Scaled updates: the pre-trained model at 0, the trained one at 1, and what lies between."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine import checkpoint
from trainables.engine.learner import Learner
from trainables.engine.measures import Metrics
from trainables.engine.wise_ft import SHARES, wise_ft_curves
from trainables.methods.block_method import BlockMethod

MakeSpace = Callable[..., Space]

NAMES = (
    "full",
    "lora",
    "selective_lora",
    "taps",
    "top_k",
    "block_expansion",
    "random_blocks",
    "largest_norm",
)
MODEL_METRICS = ("probe", "retained", "forgetting")


def trained(problem: Problem, *spaces: dict[str, Any]) -> Training:
    training = Training(problem, spaces)
    for _ in range(training.epochs):
        training.run_epoch()
    return training


def state(training: Training) -> dict[str, torch.Tensor]:
    own = {**training.learner.trained(), **dict(training.learner.method.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in own.items()}


def without_counts(metrics: Metrics) -> Metrics:
    """Whatever depends on what the model computes."""
    counts = ("a", "active_blocks", "active_fraction", "trained_parameters", "epoch")
    return {name: value for name, value in metrics.items() if name not in counts}


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_are_the_pre_trained_and_the_trained_model(
    problem: Problem, make_space: MakeSpace, name: str
) -> None:
    training = trained(problem, make_space(name, lr=2e-2, seed=3))
    before = state(training)
    expected = {**training.validate()[0], **training.test()[0]}
    (curve,) = wise_ft_curves(training)
    assert [point["a"] for point in curve] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1] == [*SHARES]
    assert without_counts(curve[0]) == without_counts(dict(problem.reference))
    assert curve[-1] == {"a": 1.0, **expected}
    after = state(training)
    assert all(torch.equal(tensor, before[key]) for key, tensor in after.items())


@pytest.mark.parametrize("name", NAMES)
def test_without_text_the_backbone_moves_and_the_head_stays(
    timm_problem: Problem, make_space: MakeSpace, name: str
) -> None:
    training = trained(timm_problem, make_space(name, lr=2e-2))
    before = state(training)
    expected = {**training.validate()[0], **training.test()[0]}
    (curve,) = wise_ft_curves(training)
    reference = timm_problem.reference
    forgotten = [key for key in curve[0] if any(word in key for word in MODEL_METRICS)]
    assert all(curve[0][key] == reference.get(key, 0.0) for key in forgotten)
    assert curve[-1] == {"a": 1.0, **expected}
    assert all(torch.equal(tensor, before[key]) for key, tensor in state(training).items())


@pytest.mark.parametrize("name", ["lora", "selective_lora", "taps"])
def test_a_point_between_scales_the_update(
    problem: Problem, make_space: MakeSpace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The features that are measured at a are those of the merged weights w0 + a (w - w0)."""
    training = trained(problem, *(make_space(name, lr=2e-2, seed=seed) for seed in (0, 1)))
    learner = training.learner
    assert isinstance(learner.method, BlockMethod)
    merged = [learner.method.merged(k) for k in range(2)]
    seen: list[torch.Tensor] = []
    encode = Learner.encode

    def watched(self: Learner, images: Any) -> Iterator[torch.Tensor]:
        features = list(encode(self, images))
        if images is problem.task.val:
            seen.append(torch.cat(features, dim=1))
        return iter(features)

    monkeypatch.setattr(Learner, "encode", watched)
    wise_ft_curves(training)
    start = problem.backbone.state_dict()
    for a, features in zip(SHARES, seen, strict=True):
        for k in range(2):
            between = problem.backbone.fork()
            end = merged[k].state_dict()
            mixed = {key: (1 - a) * start[key] + a * end[key] for key in start}
            between.load_state_dict(mixed, assign=True)
            expected = between(problem.task.val.pixels)
            torch.testing.assert_close(features[k], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_curve_can_be_drawn_of_what_was_saved(problem: Problem, make_space: MakeSpace, name: str) -> None:
    space = make_space(name, lr=2e-2, seed=3)
    first = trained(problem, space)
    fresh = Training(problem, [space])
    checkpoint.restore(fresh, 0, checkpoint.capture(first, 0, []))
    assert wise_ft_curves(fresh) == wise_ft_curves(first)


def test_members_of_a_pack_have_curves_of_their_own(problem: Problem, make_space: MakeSpace) -> None:
    spaces = [make_space("lora", {"rank": rank}, lr=2e-2, seed=rank) for rank in (1, 4)]
    packed = wise_ft_curves(trained(problem, *spaces))
    for space, curve in zip(spaces, packed, strict=True):
        (alone,) = wise_ft_curves(trained(problem, space))
        for mine, theirs in zip(alone, curve, strict=True):
            assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-4)


def test_both_towers_go_back(problem: Problem, make_space: MakeSpace) -> None:
    space = make_space("full", {"towers": ("image", "text")}, objective="flyp", lr=1e-2)
    (curve,) = wise_ft_curves(trained(problem, space))
    assert without_counts(curve[0]) == without_counts(dict(problem.reference))
    assert without_counts(curve[-1]) != without_counts(curve[0])
