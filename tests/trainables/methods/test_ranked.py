"""Methods that choose single ranks: what is left of a block, and of a pack."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from search_spaces import Space
from trainables import Problem, Training

MakeSpace = Callable[..., Space]


def trained(problem: Problem, make_space: MakeSpace, name: str, *settings: dict[str, Any]) -> Training:
    training = Training(problem, [make_space(name, own, epochs=4, lr=1e-2) for own in settings])
    for _ in range(4):
        training.train_epoch()
    return training


@pytest.mark.parametrize(
    ("name", "settings"),
    [("adalora", {"rank": 4, "rank_fraction": 0.1}), ("codyra", {"rank": 4, "kappa": 0.6, "dense": 0.4})],
)
def test_a_block_without_ranks_is_the_pre_trained_one(
    problem: Problem, make_space: MakeSpace, name: str, settings: dict[str, Any]
) -> None:
    training = trained(problem, make_space, name, settings)
    method, untouched = training.learner.method, problem.backbone.state_dict()
    (active,), merged = method.active_blocks(), method.merged(0).state_dict()
    assert 0 < len(active) < len(method.blocks)
    weights = ranks = 0
    for block in method.blocks:
        path = f"{problem.backbone.linears[block]}.weight"
        assert torch.equal(merged[path], untouched[path]) == (block not in active)
        rank = int(torch.linalg.matrix_rank(merged[path] - untouched[path], atol=1e-6))
        weights, ranks = weights + rank * (sum(merged[path].shape) + 1), ranks + rank
    assert method.gate_metrics() == [{"active_ranks": ranks}]
    (metrics,) = training.validate()
    assert (metrics["trained_parameters"], metrics["active_blocks"]) == (weights, len(active))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "adalora",
            [
                {"rank": 3, "rank_fraction": 0.2},
                {"rank": 6, "rank_fraction": 0.5, "orthogonality": 0.5},
                {"rank": 2, "rank_fraction": 1.0, "orthogonality": 0.0},
            ],
        ),
        ("codyra", [{"rank": 3, "kappa": 0.3}, {"rank": 6, "kappa": 0.6}, {"rank": 2, "kappa": 0.0}]),
    ],
)
def test_members_with_other_budgets_train_as_they_would_alone(
    problem: Problem, make_space: MakeSpace, name: str, settings: list[dict[str, Any]]
) -> None:
    pack = trained(problem, make_space, name, *settings).learner.method
    assert len(set(map(len, pack.active_blocks()))) > 1
    for k, own in enumerate(settings):
        alone = trained(problem, make_space, name, own).learner.method
        assert torch.equal(pack.kept()[k, :, : own["rank"]], alone.kept()[0])
        for ours, theirs in zip(pack.placed, alone.placed, strict=True):
            torch.testing.assert_close(ours.matrices()[k], theirs.matrices()[0], rtol=1e-3, atol=1e-4)
