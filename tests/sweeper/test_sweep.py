"""Whole sweeps through the command line, with real Ray, Optuna and MLflow."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from workplace import Workplace, run_arguments

pytestmark = pytest.mark.slow


def trials(place: Workplace, name: str = "clip_lambda") -> pd.DataFrame:
    frame = pd.read_csv(place.folder / "sweeps" / name / "report" / "trials.csv").set_index("key")
    return frame.drop(columns="seconds", errors="ignore")


def runs(place: Workplace, name: str = "clip_lambda") -> list[Run]:
    client = MlflowClient(f"sqlite:///{place.folder}/mlflow.db")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


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


def test_the_recommended_trial_comes_out_the_same_again(finished: Workplace) -> None:
    finished.sweeper("run", "sweeps/clip_lambda/report/recommended.yaml")
    frame = trials(finished)
    knee = json.loads((finished.folder / "sweeps/clip_lambda/report/front.json").read_text())["knee"]
    again = trials(finished, f"clip_lambda-{knee}").loc["trial-0000"]
    measured = [column for column in again.index if "accuracy" in column or "forgetting" in column]
    assert again[measured].equals(frame.loc[knee][measured])


def test_a_name_that_exists_is_refused(finished: Workplace) -> None:
    output = finished.sweeper(*run_arguments(), status=2)
    assert "sweep 'clip_lambda' exists" in output and "python -m sweeper resume clip_lambda" in output
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


def test_no_trial_inside_the_budget_has_a_status_of_its_own(workplace: Workplace) -> None:
    output = workplace.run(
        "search.parameters={}",
        "search.trials=1",
        "training.epochs=1",
        "method.lambda=0",
        "baselines=[]",
        "budget={active_blocks: 1}",
        status=3,
    )
    assert "no trial met the budget of 1 blocks" in output


def test_more_trials_can_be_asked_for(workplace: Workplace) -> None:
    overrides = ("search.trials=1", "training.epochs=1", "baselines=[linear]", "budget={active_blocks: 32}")
    workplace.run(*overrides)
    before = trials(workplace).loc["trial-0000"]
    workplace.sweeper("resume", "clip_lambda", "--trials", "2")
    frame = trials(workplace)
    assert list(frame.index) == ["trial-0000", "trial-0001", "baseline-linear"]
    assert frame.loc["trial-0000"].id_accuracy == before.id_accuracy
    assert len(runs(workplace)) == 4
    fewer = workplace.sweeper("resume", "clip_lambda", "--trials", "1", status=2)
    assert "has started 2 already" in fewer


# One trial at a time, so that what the sampler proposes does not hang on which of two ends first.
SEQUENCE = (
    "search.trials=4",
    "resources.cpus_per_trial=2",
    "baselines=[linear]",
    "budget={active_blocks: 32}",
)


def test_a_sweep_that_is_stopped_and_killed_again_and_again_ends_as_if_undisturbed(tmp_path: Path) -> None:
    undisturbed, killed = Workplace(tmp_path / "undisturbed"), Workplace(tmp_path / "killed")
    for place in (undisturbed, killed):
        place.folder.mkdir()
    undisturbed.run(*SEQUENCE)

    moments = random.Random(0)
    arguments = run_arguments(*SEQUENCE)
    for stop in (signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
        process = killed.start(*arguments)
        wait_for_trials(killed, moments.uniform(1, 8))
        # Ctrl-C reaches every process of the terminal, a kill only the driver.
        (os.killpg if stop == signal.SIGINT else os.kill)(process.pid, stop)
        output = process.communicate(timeout=120)[0]
        if stop == signal.SIGINT:
            assert process.returncode == 130, output
            assert "python -m sweeper resume clip_lambda" in output and "Traceback" not in output
        arguments = ["resume", "clip_lambda"]
    killed.sweeper("resume", "clip_lambda")

    pd.testing.assert_frame_equal(trials(killed), trials(undisturbed))
    found = [run.data.tags["key"] for run in runs(killed)]
    assert sorted(found) == ["baseline-linear", "sweep", *(f"trial-000{n}" for n in range(4))]
    client = MlflowClient(f"sqlite:///{killed.folder}/mlflow.db")
    for run in runs(killed):
        assert run.info.status == "FINISHED"
        if run.data.tags["role"] == "trial":
            history = client.get_metric_history(run.info.run_id, "id_accuracy")
            assert [point.step for point in history] == [1, 2]


def wait_for_trials(place: Workplace, seconds: float) -> None:
    """Waits until something new is in the study, then so many seconds more."""
    journal = place.folder / "sweeps" / "clip_lambda" / "study.journal"
    before = journal.stat().st_size if journal.exists() else 0
    deadline = time.monotonic() + 200
    while not (journal.exists() and journal.stat().st_size > before):
        assert time.monotonic() < deadline, "no trial got under way"
        time.sleep(0.1)
    time.sleep(seconds)
