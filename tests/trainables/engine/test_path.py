"""One training that goes through falling block counts, and the models that it leaves on its way."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine import checkpoint
from trainables.engine.points import Point
from trainables.engine.prefix import Prefix

MakeSpace = Callable[..., Space]
COUNTS = [8, 4, 2, 1]


def a_path(make_space: MakeSpace, **training: Any) -> dict[str, Any]:
    path = {"counts": COUNTS, "dense": 0.25}
    method = {"path": path, "score_lr": 0.5, "rank": training.pop("rank", 2)}
    return make_space("selective_lora", method, **{"epochs": 4, "lr": 1e-2, **training})


def points(training: Training) -> list[list[Point]]:
    while training.epoch < training.epochs:
        training.run_epoch()
    return training.points


def same(one: list[Point], other: list[Point]) -> None:
    assert [point.blocks for point in one] == [point.blocks for point in other]
    for mine, theirs in zip(one, other, strict=True):
        numbers = [{n: v for n, v in point.metrics.items() if n != "seconds"} for point in (mine, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-4)
        assert mine.active == theirs.active


def test_a_path_leaves_a_model_at_each_count_and_opens_nothing_again(
    problem: Problem, make_space: MakeSpace
) -> None:
    ((*left,),) = points(Training(problem, [a_path(make_space)]))
    assert [(point.blocks, len(point.active)) for point in left] == [(n, n) for n in COUNTS]
    assert [point.metrics["active_blocks"] for point in left] == COUNTS
    for before, after in pairwise(left):
        assert set(after.active) < set(before.active)
    assert {"id_accuracy", "forgetting", "test/id_accuracy", "test/forgetting"} <= set(left[0].metrics)
    assert left[-1].metrics["epoch"] == 4


def test_a_point_put_back_measures_as_it_did(problem: Problem, make_space: MakeSpace, tmp_path: Path) -> None:
    space = a_path(make_space)
    training = Training(problem, [space])
    (left,) = points(training)
    expected = [dict(point.metrics) for point in left]
    for folder, point in checkpoint.capture_points(training, 0):
        checkpoint.write(point, tmp_path / folder)
    for blocks, metrics in zip(COUNTS, expected, strict=True):
        saved = checkpoint.read(tmp_path / checkpoint.point_folder(f"blocks-{blocks}"))
        assert saved is not None
        fresh = Training(problem, [space])
        checkpoint.restore_model(fresh, 0, saved)
        again = {**fresh.validate()[0], **fresh.test()[0]}
        assert {n: again[n] for n in again if n != "epoch"} == {n: metrics[n] for n in again if n != "epoch"}


def test_a_pack_and_the_prefix_change_nothing(problem: Problem, make_space: MakeSpace) -> None:
    spaces = [a_path(make_space, lr=1e-2), a_path(make_space, lr=3e-3, rank=4), a_path(make_space, seed=1)]
    packed = points(Training(problem, spaces, Prefix(problem.backbone, 1.0)))
    for space, left in zip(spaces, packed, strict=True):
        same(left, points(Training(problem, [space]))[0])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_path_goes_on_where_it_stopped(problem: Problem, make_space: MakeSpace, epochs: int) -> None:
    """Also between two counts, where blocks may still change places, and in another pack."""
    space = a_path(make_space)
    whole = points(Training(problem, [space], Prefix(problem.backbone, 1.0)))[0]
    first = Training(problem, [space], Prefix(problem.backbone, 1.0))
    for _ in range(epochs):
        first.run_epoch()
    saved = checkpoint.capture(first, 0, [])
    second = Training(problem, [space], Prefix(problem.backbone, 1.0))
    checkpoint.restore(second, 0, saved)
    same(points(second)[0], whole)


def test_closed_blocks_are_left_out_of_the_pass(problem: Problem, make_space: MakeSpace) -> None:
    """So the prefix, which is shared and not adapted, grows along the path."""
    training = Training(problem, [a_path(make_space)])
    started = []
    while training.epoch < training.epochs:
        training.train_epoch()
        started.append(training.learner.method.frozen_layers()[0])
    ends = training.points[0][-1].active
    assert started == sorted(started)
    assert started[-1] == min(int(name.split(".")[1]) for name in ends)
    _, _, closed = zip(*_kept(training), strict=True)
    assert sum(closed) == len(training.learner.method.blocks) - 1


def _kept(training: Training) -> list[tuple[str, Any, bool]]:
    method: Any = training.learner.method
    return [
        (name, block, block.members is None) for name, block in zip(method.blocks, method.placed, strict=True)
    ]


def test_the_rate_starts_anew_at_each_count(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [a_path(make_space, warmup=0.0)])
    ends = training.levels.ends
    shares = [training._share(step) for step in range(1, training.steps + 1)]
    assert [shares[end - 1] for end in ends] == pytest.approx([0.0] * len(ends), abs=1e-7)
    assert [shares[end] for end in ends[:-1]] == [1.0] * (len(ends) - 1)
    assert torch.isfinite(training.train_epoch()).all()
