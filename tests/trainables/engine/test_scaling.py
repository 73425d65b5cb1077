"""Models with a scaled update, against the arithmetic of weights that is in their papers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from search_spaces import Points, Space
from trainables import Problem, Training
from trainables.engine import checkpoint
from trainables.engine.scaling import Scaling, Update

MakeSpace = Callable[..., Space]
DEPTH = 2  # layers of the small models
SHARE = 0.25


def trained(problem: Problem, *spaces: dict[str, Any]) -> Training:
    training = Training(problem, spaces)
    while training.epoch < training.epochs:
        training.train_epoch()
    return training


def weights(training: Training, member: int) -> dict[str, torch.Tensor]:
    """Of the model with the updates in it, under its library's names."""
    return training.learner.method.merged(member).plain_state()


def share_of(name: str, kind: str, path: str) -> float:
    """LiNeS: alpha + (1 - alpha) (l - 1) / (L - 1) for layer l of L, alpha elsewhere; WiSE-FT: one share."""
    if kind == "scale" or f"{path}." not in name:
        return SHARE
    layer = int(name.split(f"{path}.")[1].split(".")[0])
    return SHARE + (1 - SHARE) * layer / (DEPTH - 1)


@pytest.mark.parametrize("kind", ["scale", "lines"])
@pytest.mark.parametrize("name", ["lora", "taps", "full", "top_k"])
def test_every_weight_has_the_share_of_its_layer(
    timm_problem: Problem, make_space: MakeSpace, name: str, kind: str
) -> None:
    training = trained(timm_problem, make_space(name, lr=2e-2))
    before = {n: w.clone() for n, w in timm_problem.backbone.plain_state().items()}
    after = {n: w.clone() for n, w in weights(training, 0).items()}
    with Update(training.learner).scaled(Scaling(kind, SHARE)):
        for tensor, weight in weights(training, 0).items():
            share = share_of(tensor, kind, "blocks")
            expected = before[tensor] + share * (after[tensor] - before[tensor])
            torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-6, msg=tensor)
    for tensor, weight in weights(training, 0).items():
        assert torch.equal(weight, after[tensor]), tensor


def asked(make_space: MakeSpace, most: int, **method: Any) -> Space:
    points = {"scale": [0.5], "lines": [0.2], "most_blocks": most}
    space = make_space("selective_lora", {"rank": 2, **method}, lr=1e-2, epochs=3)
    return space.model_copy(update={"points": Points.model_construct(**points)})


def test_a_trial_leaves_scaled_models_at_its_end_if_it_is_inside(
    problem: Problem, make_space: MakeSpace
) -> None:
    few, many = {"mask": ["image.1.fc2"]}, {"mask": ["image.0.qkv", "image.1.fc2"]}
    training = trained(problem, *(asked(make_space, 1, **method) for method in (few, many)))
    inside, outside = training.points
    assert [point.name for point in inside] == ["scale-0.5", "lines-0.2"] and not outside
    with Update(training.learner).scaled(Scaling("scale", 0.5)):
        again = {**training.validate()[0], **training.test()[0]}
    assert {n: inside[0].metrics[n] for n in again} == pytest.approx(again)


def test_a_path_leaves_them_at_the_counts_inside_and_a_point_scaled_again_measures_as_it_did(
    problem: Problem, make_space: MakeSpace
) -> None:
    space = asked(make_space, 2, path={"counts": [8, 4, 2, 1], "dense": 0.25})
    training = trained(problem, space)
    left = {point.name: point for point in training.points[0]}
    trained_ones = [f"blocks-{n}" for n in (8, 4, 2, 1)]
    scaled = [f"blocks-{n}-{how}" for n in (2, 1) for how in ("scale-0.5", "lines-0.2")]
    assert set(left) == {*trained_ones, *scaled}
    kept = dict(checkpoint.capture_points(training, 0))
    assert set(kept) == {f"points/{name}" for name in trained_ones}
    for name in scaled:
        fresh = Training(problem, [space])
        checkpoint.restore_model(fresh, 0, kept[f"points/{name.rsplit('-', 2)[0]}"])
        scaling = left[name].scaling
        assert scaling is not None
        Update(fresh.learner).scale(scaling)
        again = {**fresh.validate()[0], **fresh.test()[0], "epoch": left[name].metrics["epoch"]}
        assert again == pytest.approx({n: left[name].metrics[n] for n in again})
