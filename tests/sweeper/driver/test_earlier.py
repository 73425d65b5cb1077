"""Baselines with equal settings are trained once in a working directory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from workplace import REPOSITORY

from search_spaces import Space, load_space
from sweeper.driver.earlier import take_over
from sweeper.storage.folders import SweepFolder
from trainables import Problem, Training, open_problem
from trainables.engine import checkpoint

SHIPPED = REPOSITORY / "spaces" / "clip_lambda.yaml"
SMALL = [
    "data.id.limit=64",
    "data.ood=[]",
    "data.probes=[{source: glyphs, limit: 20}]",
    "training.epochs=2",
    "baselines=[{method: lora, set: {training.epochs: 2}}]",
]


def space(name: str, *more: str) -> Space:
    return load_space(SHIPPED, [*SMALL, f"sweep={name}", *more])


@pytest.fixture
def here(tmp_path: Path) -> Iterator[None]:
    with contextlib.chdir(tmp_path):
        yield


def begin(of: Space, problem: Problem, fresh: bool = False, results: str | None = None) -> list[str]:
    """What is said of a new sweep; where its baseline will be is what it has."""
    said: list[str] = []
    take_over(problem, of, SweepFolder(of.sweep), results, said.append, fresh)
    return said


def place(of: Space, results: str | None = None) -> str:
    return SweepFolder(of.sweep).trial("baseline-lora", results)


def train(of: Space, problem: Problem, epochs: int) -> None:
    training = Training(problem, [of.for_baseline("lora")])
    history = [training.run_epoch()[0] for _ in range(epochs)]
    checkpoint.write(checkpoint.capture(training, 0, history), place(of))


def test_an_equal_run_is_taken_over_once_it_is_finished(here: None) -> None:
    first = space("first")
    problem = open_problem(first)
    assert begin(first, problem) == []
    train(first, problem, epochs=1)
    other_budget = space("second", "budget.active_fraction=0.5", "search.trials=3")
    assert begin(other_budget, problem) == [] and checkpoint.read(place(other_budget)) is None
    train(other_budget, problem, epochs=2)
    third = space("third", "search.seed=7")
    assert begin(third, problem) == [
        f"baseline lora: taken over from {place(other_budget)}; --fresh trains it again"
    ]
    taken, trained = checkpoint.read(place(third)), checkpoint.read(place(other_budget))
    assert taken is not None and trained is not None and taken.history == trained.history
    assert taken.tensors.keys() == trained.tensors.keys()
    assert all(torch.equal(taken.tensors[name], trained.tensors[name]) for name in trained.tensors)


@pytest.mark.parametrize(
    "change",
    [
        "training.seed=5",
        "training.lr=0.004",
        "baselines=[{method: lora, set: {training.epochs: 2, method.rank: 3}}]",
        "data.id.limit=60",
        "data.probes=[{source: glyphs, limit: 30}]",
    ],
)
def test_any_other_run_is_not(here: None, change: str) -> None:
    first, other = space("first"), space("other", change)
    problem = open_problem(first)
    begin(first, problem)
    train(first, problem, epochs=2)
    assert begin(other, open_problem(other)) == []
    assert not Path(place(other)).exists()
    assert len(begin(space("again"), problem)) == 1


def test_nothing_is_taken_over_where_it_is_not_wanted_or_not_there(here: None, tmp_path: Path) -> None:
    first = space("first")
    problem = open_problem(first)
    begin(first, problem)
    train(first, problem, epochs=2)
    assert begin(space("elsewhere"), problem, results=str(tmp_path / "results")) == []
    assert len(begin(space("second"), problem)) == 1
    (Path(place(first)) / checkpoint.FILE).write_bytes(b"damaged")
    assert begin(space("third"), problem) == []
    train(space("third"), problem, epochs=2)
    assert len(begin(space("fourth"), problem)) == 1
    assert begin(space("fifth"), problem, fresh=True) == []
