"""Whole sweeps through the command line, with real Ray, Optuna and MLflow."""

import contextlib
import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from workplace import FINISHED, REPOSITORY, Workplace, run_arguments, runs, trials

from search_spaces import load_space
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.claim import claim
from sweeper.study.sweep_study import SweepStudy

pytestmark = pytest.mark.slow


def test_a_sweep_ends_with_its_front_and_the_way_to_go_on(finished: Workplace) -> None:
    output = (finished.folder / "output.txt").read_text()
    assert "the front, at most 32 of 32 blocks" in output
    assert "(knee)" in output
    assert "python -m sweeper run sweeps/clip_lambda/report/recommended.yaml" in output
    assert "python -m sweeper ui" in output
    assert "Traceback" not in output


def test_a_failed_trial_is_recorded_and_the_sweep_lives(finished: Workplace) -> None:
    frame = trials(finished)
    assert sorted(frame.state) == ["complete"] * 4 + ["failed"]
    failed = frame[frame.state == "failed"].iloc[0]
    assert failed["training.lr"] == 1e30
    assert "became nan in epoch" in failed["reason"]
    assert sorted(frame[frame.state == "complete"].index) == [
        "baseline-linear",
        "baseline-zero_shot",
        *sorted(frame[(frame.role == "trial") & (frame.state == "complete")].index),
    ]


def test_the_report_has_all_its_files_and_they_agree(finished: Workplace) -> None:
    report = finished.folder / "sweeps" / "clip_lambda" / "report"
    files = {path.name for path in report.iterdir()}
    assert files == {
        "index.html",
        "front.png",
        "front.csv",
        "front.tex",
        "trials.csv",
        "trials.parquet",
        "front.json",
        "recommended.yaml",
    }
    front = json.loads((report / "front.json").read_text())
    frame = trials(finished)
    assert [row["key"] for row in front["front"]] == list(
        frame[frame.front].sort_values("id_accuracy", ascending=False).index
    )
    assert 0 < front["hypervolume"] < 1


def test_every_trial_has_one_run_below_the_sweeps(finished: Workplace) -> None:
    found = {run.data.tags["key"]: run for run in runs(finished)}
    assert len(found) == len(runs(finished)) == 6
    parent = found.pop("sweep")
    assert set(found) == set(trials(finished).index)
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    for key, row in trials(finished).iterrows():
        if row.state == "complete":
            assert found[str(key)].data.metrics["id_accuracy"] == pytest.approx(row.id_accuracy)
            assert found[str(key)].data.metrics["test/id_accuracy"] == pytest.approx(row["test/id_accuracy"])


def test_the_report_and_the_adapters_of_the_front_are_artifacts(finished: Workplace) -> None:
    client = MlflowClient(f"sqlite:///{finished.folder}/mlflow.db")
    parent = next(run for run in runs(finished) if run.data.tags["role"] == "sweep")
    report = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/index.html", "report/front.json"} <= report
    adapters = {file.path for file in client.list_artifacts(parent.info.run_id, "adapters")}
    assert adapters == {f"adapters/{key}" for key in trials(finished)[trials(finished).front].index}


def test_the_recommended_trial_comes_out_the_same_again_and_more_can_be_asked_for(
    finished: Workplace,
) -> None:
    finished.sweeper("run", "sweeps/clip_lambda/report/recommended.yaml")
    knee = json.loads((finished.folder / "sweeps/clip_lambda/report/front.json").read_text())["knee"]
    name = f"clip_lambda-{knee}"
    again = trials(finished, name).loc["trial-0000"]
    measured = [column for column in again.index if "accuracy" in column or "forgetting" in column]
    assert again[measured].equals(trials(finished).loc[knee][measured])

    adapters = finished.folder / "sweeps" / name / "adapters"
    (adapters / "trial-0099").mkdir()  # as of a trial that has left the front
    finished.sweeper("resume", name, "--trials", "2")
    frame = trials(finished, name)
    assert {folder.name for folder in adapters.iterdir()} == set(frame[frame.front].index)
    assert list(frame.index) == ["trial-0000", "trial-0001"]
    assert frame.loc["trial-0000"][measured].equals(again[measured])
    assert len(runs(finished, name)) == 3
    assert "has started 2 already" in finished.sweeper("resume", name, "--trials", "1", status=2)


def test_a_name_that_exists_is_refused(finished: Workplace) -> None:
    output = finished.sweeper(*run_arguments(*FINISHED), status=2)
    assert "sweep 'clip_lambda' exists; go on with it by `python -m sweeper resume clip_lambda`" in output
    output = finished.sweeper(*run_arguments(*FINISHED, "training.flip=true", "method.rank=2"), status=2)
    assert (
        "exists with another space: method.rank (4 there, 2 here), training.flip (false there, true" in output
    )
    assert "Traceback" not in output


def test_status_list_and_report_read_the_study(finished: Workplace) -> None:
    assert "clip_lambda: 5/5 done, 1 failed" in finished.sweeper("status", "clip_lambda")
    assert "clip_lambda: 5/5 done, 1 failed" in finished.sweeper("list")
    page = finished.folder / "sweeps" / "clip_lambda" / "report" / "index.html"
    page.unlink()
    finished.sweeper("report", "clip_lambda")
    assert page.exists()
    unknown = finished.sweeper("status", "clip_lamda", status=2)
    assert "did you mean 'clip_lambda'?" in unknown


def test_no_trial_inside_the_budget_has_a_status_of_its_own(tmp_path: Path) -> None:
    """A sweep whose only trial has ended over budget, gone on with: there is nothing left to train."""
    space = load_space(
        REPOSITORY / "spaces" / "clip_lambda.yaml",
        ["search.trials=1", "baselines=[]", "budget={active_blocks: 1}"],
    )
    with contextlib.chdir(tmp_path):
        folder = SweepFolder(space.sweep)
        claim(folder, None, print)
        reference = {"id_accuracy": 50.0, "retained_accuracy": 90.0}
        study = SweepStudy.create(
            space, ("a", "b", "c"), reference, 1, open_storage(None, folder.journal), sweep_id=folder.id
        )
        job = study.next_trial()
        assert job is not None
        metrics = {"id_accuracy": 90.0, "forgetting": 1.0, "retained_accuracy": 89.0, "active_blocks": 3.0}
        study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": ["a", "b", "c"]})
    output = Workplace(tmp_path).sweeper("resume", "clip_lambda", status=3)
    assert "No trial met the budget of at most 1 of 3 blocks" in " ".join(output.split())


def test_a_second_sweep_trains_no_baseline_again_and_has_the_same_numbers(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    small = ["search.trials=1", "baselines=[linear, {method: lora, set: {method.rank: 2}}]"]
    said = {
        name: place.sweeper(*run_arguments(*small, budget), "--name", name, *options)
        for name, budget, options in (
            ("first", "budget={active_blocks: 32}", ()),
            ("second", "budget={active_fraction: 1.0}", ()),
            ("third", "budget={active_blocks: 32}", ("--fresh",)),
        )
    }
    told = {name: output.count("taken over from") for name, output in said.items()}
    assert told == {"first": 0, "second": 2, "third": 0}
    own = ["id_accuracy", "forgetting", "loss", "epoch", "test/id_accuracy", "test/forgetting"]
    first, second, third = (trials(place, name).query("role == 'baseline'")[own] for name in said)
    assert len(first) == 2
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, third)
    to = tmp_path / "taken"
    place.sweeper("export", "second", "--to", str(to), "--format", "adapter", "--trial", "lora")
    assert (to / "adapter.safetensors").exists()
