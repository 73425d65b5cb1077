"""The best trials are trained again: which, with which seeds, and that no interruption loses one."""

import contextlib
import itertools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher
from workplace import Workplace, run_arguments, runs

from search_spaces import Space, load_space
from sweeper.driver.faults import Faults
from sweeper.driver.progress import sweep_line
from sweeper.driver.searcher import PackSearcher
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.confirm import pending
from sweeper.study.front import hypervolume, knee, on_front, spread
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.study.sweep_study import Job, SweepStudy, open_study

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
OUTCOMES = [(70.0, 1.0), (95.0, 9.0), (90.0, 3.0), (60.0, 8.0)]
CONFIRM = "confirm={trials: 2, seeds: 2}"


def space(*overrides: str) -> Space:
    return load_space("spaces/clip_lambda.yaml", ["baselines=[]", "search.trials=4", CONFIRM, *overrides])


def create(of: Space, folder: Path) -> SweepStudy:
    return SweepStudy.create(
        of, BLOCKS, {"retained_accuracy": 90.0}, 1, open_storage(None, folder / "journal")
    )


def reopen(folder: Path) -> SweepStudy:
    return SweepStudy("clip_lambda", open_storage(None, folder / "journal"))


def end(study: SweepStudy, job: Job | None, accuracy: float, forgetting: float) -> None:
    assert job is not None
    metrics = {"id_accuracy": accuracy, "forgetting": forgetting, "active_blocks": 2, "epoch": 1}
    study.tell(
        {"key": job.key, "state": "complete", "metrics": metrics, "active": BLOCKS[:2], "reason": None}
    )


def played(folder: Path, of: Space | None = None) -> SweepStudy:
    """A study whose trials have ended: 2 is the knee, 1 and 0 are on the front, 3 is not."""
    study = create(of or space(), folder)
    for outcome in OUTCOMES:
        end(study, study.next_trial(), *outcome)
    return study


def test_the_knee_comes_first_then_what_adds_most_hypervolume(tmp_path: Path) -> None:
    study = create(space("search.trials=9"), tmp_path)
    points = [(50 + 5 * n, 0.1 * n**2 + 0.3 * (n % 3)) for n in range(9)]
    for point in points:
        end(study, study.next_trial(), *point)
    record = study.record()
    front = on_front(record)
    chosen = spread(record, 4)
    assert chosen[0] == knee(front) and len(chosen) == 4 < len(front)
    for size in (2, 3, 4):
        areas = [hypervolume(record, [*chosen[: size - 1], trial]) for trial in front]
        assert hypervolume(record, chosen[:size]) == max(areas)
    assert {trial.key for trial in spread(record, 99)} == set(record.front)
    assert spread(record, 0) == [] and spread(replace(record, front=()), 3) == []


def test_each_chosen_trial_is_trained_again_with_other_seeds_and_nothing_else(tmp_path: Path) -> None:
    study = played(tmp_path)
    jobs = []
    while job := study.next_confirmation():
        jobs.append(job)
    keys = [f"confirmation-{n:04d}-seed-{seed}" for n, seed in itertools.product((2, 1), (1001, 1002))]
    assert [job.key for job in jobs] == keys
    record = study.record()
    parameters = record.trials[2].parameters
    assert jobs[1].space == study.space.with_values({**parameters, "training.seed": 1002})
    assert jobs[1].space.training.seed == 1002 and jobs[1].space.confirm is None
    end(study, jobs[1], 91.0, 2.5)
    kept = reopen(tmp_path).record()
    confirmation = kept.confirmations[1]
    assert (confirmation.label, confirmation.group, confirmation.role) == (
        "2, seed 1002",
        "2",
        "confirmation",
    )
    assert (confirmation.method, confirmation.parameters) == ("selective_lora", {"training.seed": 1002})
    assert (confirmation.state, confirmation.feasible) == ("complete", True)
    assert [run.state for run in kept.confirmations] == ["running", "complete", "running", "running"]
    assert kept.trials == record.trials and kept.front == record.front


@pytest.mark.parametrize("overrides", [["confirm=null"], ["budget={active_blocks: 1}"]])
def test_there_are_none_where_none_are_asked_for_or_the_front_is_empty(
    overrides: list[str], tmp_path: Path
) -> None:
    study = played(tmp_path, space(*overrides))
    assert not study.awaits_confirmation
    assert study.next_confirmation() is None
    assert pending(study.record()) == [] and study.record().confirmations == ()


def test_a_storage_of_an_earlier_version_opens(tmp_path: Path) -> None:
    """One without the study of confirmations, whose space has no such section."""
    played(tmp_path, space("confirm=null"))
    storage = open_storage(None, tmp_path / "journal")
    names = optuna.get_all_study_names(storage)
    assert sorted(names) == ["clip_lambda", "clip_lambda.baselines"]
    study = optuna.load_study(study_name="clip_lambda", storage=storage)
    old = {key: value for key, value in study.user_attrs["space"].items() if key != "confirm"}
    old["search"] = {key: value for key, value in old["search"].items() if key != "prune"}
    study.set_user_attr("space", old)
    again = reopen(tmp_path)
    assert again.next_confirmation() is None and len(again.record().trials) == 4


def test_interrupted_confirmations_go_on_and_none_is_begun_twice(tmp_path: Path) -> None:
    first = played(tmp_path).next_confirmation()
    again = reopen(tmp_path)
    assert again.interrupted() == [first]
    end(again, first, 90.0, 3.0)
    # The driver is killed after it has put one in line, before it has begun it.
    number, seed = pending(again.record())[0]
    study = optuna.load_study(
        study_name="clip_lambda.confirmations", storage=open_storage(None, tmp_path / "journal")
    )
    study.enqueue_trial({}, user_attrs={"trial": number, "seed": seed})
    after = reopen(tmp_path)
    keys = []
    while job := after.next_confirmation():
        keys.append(job.key)
    assert keys == [
        "confirmation-0002-seed-1002",
        "confirmation-0001-seed-1001",
        "confirmation-0001-seed-1002",
    ]


def test_more_trials_bring_confirmations_of_the_new_best(tmp_path: Path) -> None:
    study = played(tmp_path)
    while job := study.next_confirmation():
        end(study, job, 90.0, 3.0)
    study.asked = 5
    assert study.awaits_confirmation
    end(study, study.next_trial(), 99.0, 0.0)
    added = study.next_confirmation()
    assert added is not None and added.key == "confirmation-0004-seed-1001"
    assert pending(study.record()) == [(4, 1002)]
    assert len(study.record().confirmations) == 5


def test_the_searcher_waits_for_the_last_trial_then_hands_out_packs_of_confirmations(tmp_path: Path) -> None:
    study = SweepStudy.create(
        space("resources.max_parallel=2"), BLOCKS, {}, 3, open_storage(None, tmp_path / "journal")
    )
    searcher = PackSearcher(study, SweepFolder("clip_lambda"), Faults(print), lambda: None)

    def keys(asked: Any) -> list[str]:
        return [member["key"] for member in asked["members"]]

    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert [len(keys(pack)) for pack in (first, second)] == [3, 1]
    jobs = [Job(key, study.space) for pack in (first, second) for key in keys(pack)]
    for job, outcome in zip(jobs, OUTCOMES, strict=True):
        assert searcher.suggest("c") is None
        end(study, job, *outcome)
    confirmations = [*keys(searcher.suggest("d")), *keys(searcher.suggest("e"))]
    assert confirmations == [
        "confirmation-0002-seed-1001",
        "confirmation-0002-seed-1002",
        "confirmation-0001-seed-1001",
        "confirmation-0001-seed-1002",
    ]
    # Any of them may still come back, if its pack is too large.
    assert searcher.suggest("f") is None
    for key in confirmations:
        end(study, Job(key, study.space), 90.0, 3.0)
    assert searcher.suggest("g") == Searcher.FINISHED


# One trial at a time, for long enough to be stopped in it. The last learns much too fast, and knows less of
# both tasks after one epoch.
SEQUENCE = (
    "data.id.limit=null",
    "search={sampler: grid, trials: 4, seed: 5, "
    "parameters: {training.lr: {choices: [1e-3, 2e-3, 3e-3, 0.3]}}}",
    "resources.cpus_per_trial=2",
    "baselines=[]",
    "budget={active_blocks: 32}",
    "method.lambda=0.01",
    "confirm={trials: 1, seeds: 2}",
)


@pytest.mark.slow
def test_a_sweep_that_prunes_and_confirms_ends_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    undisturbed, stopped = Workplace(tmp_path / "undisturbed"), Workplace(tmp_path / "stopped")
    for place in (undisturbed, stopped):
        place.folder.mkdir()
    output = undisturbed.run(*SEQUENCE)
    expected = record_of(undisturbed)
    pruned = [trial.key for trial in expected.trials if trial.state == "pruned"]
    assert pruned and f"{pruned[0]} pruned: dominated at epoch 1 by " in output
    assert "confirmation-" in output and "6/6 done" in output
    assert [run.state for run in expected.confirmations] == ["complete", "complete"]
    assert len({run.metrics["loss"] for run in expected.confirmations}) == 2

    arguments = run_arguments(*SEQUENCE)
    for moment in (pruned[0], expected.confirmations[0].key):
        process = stopped.start(*arguments)
        wait_for(stopped.folder / "sweeps" / "clip_lambda" / "trials" / moment)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 130, said
        arguments = ["resume", "clip_lambda"]
    stopped.sweeper("resume", "clip_lambda")
    found = record_of(stopped)
    assert [timeless(run) for run in found.runs] == [timeless(run) for run in expected.runs]
    assert sweep_line(found).startswith(f"clip_lambda: 6/6 done, 0 failed, {len(pruned)} pruned, ")
    by_key = {run.data.tags["key"]: run for run in runs(stopped)}
    assert len(by_key) == len(runs(stopped)) == 7
    assert {run.info.status for run in by_key.values()} == {"FINISHED"}
    assert by_key[pruned[0]].data.tags["state"] == "pruned"
    assert by_key[pruned[0]].data.tags["reason"].startswith("dominated at epoch 1 by ")
    assert by_key[expected.confirmations[1].key].data.tags["role"] == "confirmation"
    assert by_key[expected.confirmations[1].key].data.params["training.seed"] == "1002"


def record_of(place: Workplace) -> SweepRecord:
    with contextlib.chdir(place.folder):
        return open_study(SweepFolder("clip_lambda"), None).record()


def timeless(run: TrialRecord) -> TrialRecord:
    metrics = {name: value for name, value in run.metrics.items() if name != "seconds"}
    return replace(run, metrics=metrics)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.05)


def test_the_seed_of_a_confirmation_is_never_the_trials_own(tmp_path: Path) -> None:
    study = played(tmp_path, space("training.seed=1001"))
    assert pending(study.record()) == [(2, 1002), (2, 1003), (1, 1002), (1, 1003)]
