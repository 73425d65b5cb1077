"""Runs with equal settings are trained once in a working directory."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from optuna.trial import FrozenTrial
from workplace import REPOSITORY

from search_spaces import Space, load_space
from sweeper.driver.earlier import bring, earlier_baselines, earlier_sweeps, earlier_trials
from sweeper.driver.reference import grounds
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy, TakenOver
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


BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))


def space(name: str, *more: str) -> Space:
    return load_space(SHIPPED, [*SMALL, f"sweep={name}", *more])


@pytest.fixture
def here(tmp_path: Path) -> Iterator[None]:
    with contextlib.chdir(tmp_path):
        yield


def begin(of: Space, problem: Problem, fresh: bool = False, results: str | None = None) -> list[str]:
    """What is said of a new sweep; where its baseline will be is what it has."""
    said: list[str] = []
    folder = SweepFolder(of.sweep)
    baselines = earlier_baselines(of, grounds(problem), folder, results, said.append, fresh)
    bring(create(of, problem, TakenOver((), baselines), results), folder)
    return said


def create(of: Space, problem: Problem, taken: TakenOver, results: str | None = None) -> SweepStudy:
    folder = SweepFolder(of.sweep)
    folder.remember(None, of.sweep, "its-id")
    storage = open_storage(None, folder.journal)
    resting = grounds(problem)
    return SweepStudy.create(
        of, BLOCKS, {}, 1, storage, results, sweep_id="its-id", grounds=resting, taken=taken
    )


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


def taken(new: Space, resting: Mapping[str, str], say: Callable[[str], None]) -> list[FrozenTrial]:
    sweeps = earlier_sweeps(new, SweepFolder(new.sweep), None)
    return earlier_trials(new, len(BLOCKS), resting, sweeps, say)


def test_the_trials_of_a_sweep_are_named_with_their_number_and_their_checkpoints_brought(here: None) -> None:
    first = space("first", "search.sampler=random", "baselines=[]")
    problem = open_problem(first)
    study = create(first, problem, TakenOver())
    job = study.next_trial()
    assert job is not None
    training = Training(problem, [job.space])
    history = training.run_epoch()
    checkpoint.write(checkpoint.capture(training, 0, history), SweepFolder("first").trial(job.key, None))
    study.tell({"key": job.key, "state": "complete", "metrics": history[0], "active": []})
    second, said = space("second", "search.from=first", "baselines=[]"), list[str]()
    trials = taken(second, grounds(problem), said.append)
    assert said == ["search.from: 1 of 1 complete trials of 'first' are taken over"]
    again = create(second, problem, TakenOver(trials))
    for _ in range(2):
        bring(again, SweepFolder("second"))
    brought = checkpoint.read(SweepFolder("second").trial("trial-0000", None))
    assert brought is not None and brought.history == history
    assert again.record().trials[0].metrics == history[0]
    # The same trial of two sweeps is one.
    third = space("third", "search.from=[second, first]", "baselines=[]")
    (trial,) = taken(third, grounds(problem), said.append)
    assert [trial.params] == [t.params for t in trials]
    line = "search.from: {} of 1 complete trials of '{}' are taken over"
    assert said[1:] == [line.format(1, "second"), line.format(0, "first")]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["search.from=firts"], r"search\.from: there is no sweep 'firts' in .*; did you mean 'first'\?"),
        (
            ["training.lr=0.004", "data.id.limit=60"],
            r"search\.from: trials of 'first' differ from this sweep's in pictures, training\.lr "
            r"\(0\.005 there, 0\.004 here\); make these equal, or leave it out",
        ),
        ([], r"search\.from: 'first' has no complete trial yet; wait for one, or leave it out"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_in_one_message(
    changes: list[str], told: str, here: None
) -> None:
    first = space("first")
    create(first, open_problem(first), TakenOver())
    second = space("second", "search.from=first", *changes)
    resting = grounds(open_problem(second))
    with pytest.raises(UserError, match=told):
        taken(second, resting, print)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["search.from=firts"], r"search\.from: there is no sweep 'firts' in .*; did you mean 'first'\?"),
        (
            ["search.from=second"],
            r"search\.from: 'second' is this sweep itself; give this one another --name",
        ),
    ],
)
def test_a_sweep_that_is_not_there_is_named_before_anything_is_opened(
    changes: list[str], told: str, here: None
) -> None:
    SweepFolder("first").remember(None, "first", "its-id")
    with pytest.raises(UserError, match=told):
        earlier_sweeps(space("second", *changes), SweepFolder("second"), None)


def test_other_code_is_said(here: None) -> None:
    first = space("first")
    problem = open_problem(first)
    study = create(first, problem, TakenOver())
    job = study.next_trial()
    assert job is not None
    metrics = {"id_accuracy": 1.0, "forgetting": 1.0, "active_blocks": 1}
    study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": []})
    changed, said = grounds(problem) | {"code and libraries": "other"}, list[str]()
    taken(space("second", "search.from=first"), changed, said.append)
    assert said[0] == (
        "search.from: 'first' was begun with other code and libraries, so its numbers may differ a little"
    )
