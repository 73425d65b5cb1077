"""The scale's benchmark: its arithmetic, its made-up trials, and one small run of both ways."""

import json
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient

from benchmarks.speed import scale
from benchmarks.speed._scale_runs import fill, space
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy
from tests import do_nothing


def test_the_pace_is_that_between_the_ends() -> None:
    times = (0, 1, 2, 3, 4, 5, 6, 7, 8, 18)
    ended = [[10 + seconds, 5 + seconds / 10, 100.0 + seconds, 1] for seconds in times]
    assert scale.pace(ended) == 0.5
    assert scale.effort(ended) == pytest.approx(200)
    found = {"ended": ended, "lag": 3.0, "mlflow_calls": 40, "mlflow_seconds": 0.2}
    row = scale.way_row("journal", found)
    assert (row["trials a second"], row["in the last tenth"]) == ("0.5", "0.1")
    assert (row["driver's CPU, ms a trial, first tenth"], row["last tenth"]) == ("100", "1000")
    assert (row["driver MiB, first"], row["driver MiB, last"]) == ("100", "118")
    assert (row["MLflow writes a trial"], row["ms a write"]) == ("4.0", "5.0")


def test_every_trial_is_in_one_row_of_the_curve() -> None:
    ended = [[0.1 * number, 0.02 * number, 100.0, number % 3] for number in range(1, 251)]
    rows = pd.DataFrame(scale.curve_rows({"journal": {"ended": ended}}))
    assert list(rows["trials"]) == sorted(set(rows["trials"])) and rows["trials"].iloc[-1] == 250
    assert rows["trials_a_second"].to_numpy() == pytest.approx(10)
    assert rows["cpu_ms"].to_numpy() == pytest.approx(20)


def test_a_study_that_is_filled_reads_as_one_that_was_swept(tmp_path: Path) -> None:
    """The same trials, added at once and told one by one."""
    added, told = (
        SweepStudy.create(
            space(name, 12, "random"),
            do_nothing.BLOCKS,
            do_nothing.REFERENCE,
            1,
            open_storage(None, tmp_path / name),
        )
        for name in ("added", "told")
    )
    fill(optuna.load_study(study_name="added", storage=open_storage(None, tmp_path / "added")), 12)
    for filled in added.record().trials:
        job = told.next_trial()
        assert job is not None
        method = {"lambda": filled.parameters["method.lambda"], "rank": filled.parameters["method.rank"]}
        told.tell(do_nothing.report(job.key, method))
    pairs = list(zip(added.record().trials, told.record().trials, strict=True))
    assert all((a.metrics, a.active, a.feasible) == (b.metrics, b.active, b.feasible) for a, b in pairs)
    assert {trial.feasible for trial, _ in pairs} == {True, False}
    assert added.record().front == told.record().front


@pytest.mark.slow
def test_a_small_run_writes_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, out = tmp_path / "work", tmp_path / "results"
    arguments = ["scale", "--trials", "6", "--work", str(work), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    scale.main()
    assert (out / "scale.md").read_text() in capsys.readouterr().out
    data = pd.read_csv(out / "scale.csv")
    assert data.groupby("way")["trials"].max().to_dict() == {"journal": 6, "plain": 6}
    assert (data["driver_mib"] > 50).all() and (out / "scale.png").stat().st_size > 5000
    for way, nested in (("journal-6", 1), ("plain-6", 0)):
        found = json.loads((work / f"{way}.json").read_text())
        client = MlflowClient(f"sqlite:///{work}/{way}.db")
        experiments = [e.experiment_id for e in client.search_experiments() if e.name != "Default"]
        runs = client.search_runs(experiments)
        assert len(found["ended"]) == 6 and len(runs) == 6 + nested
        assert {run.info.status for run in runs} == {"FINISHED"}
    assert set(json.loads((work / "grown-6.json").read_text())) >= {*scale.SAMPLERS, "status", "report"}
