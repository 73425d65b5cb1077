"""The plain script: it searches what the sweep searches, and logs what it writes down."""

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient

from benchmarks import plain_ray_tune
from search_spaces import load_space
from sweeper.search.suggest import suggest


def test_it_searches_the_domains_of_the_space() -> None:
    space = load_space(plain_ray_tune.SPACE)
    trial = optuna.create_study().ask()
    suggest(space, trial)
    assert trial.distributions == {f"method.{name}": d for name, d in plain_ray_tune.DOMAINS.items()}


@pytest.mark.slow
def test_a_run_lists_its_trials_and_mlflow_has_their_numbers(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    small = ["--trials", "2", "--set", "training.epochs=1", "--set", "training.batch_size=64"]
    written = ["--out", str(tmp_path / "plain.csv"), "--mlflow", uri]
    # What a sweep in this process has told Tune must not reach the script.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("TUNE_")}
    command = [sys.executable, plain_ray_tune.__file__, *small, *written]
    subprocess.run(command, cwd=tmp_path, env=alone, check=True)

    rows = pd.read_csv(tmp_path / "plain.csv")
    assert list(rows) == ["trial", *plain_ray_tune.DOMAINS, *plain_ray_tune.MEASURES, "epochs"]
    assert list(rows["trial"]) == [0, 1]
    assert list(rows["epochs"]) == [1, 1]
    # What has been retained and what has been forgotten add up to what the pre-trained model knew.
    known = rows["retained_accuracy"] + rows["forgetting"]
    assert known[0] == pytest.approx(known[1])

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("plain_ray_tune")
    assert experiment is not None
    logged = {
        float(run.data.params["lambda"]): run.data.metrics
        for run in client.search_runs([experiment.experiment_id])
    }
    assert len(logged) == 2
    for _, row in rows.iterrows():
        metrics = logged[row["lambda"]]
        assert {name: metrics[name] for name in plain_ray_tune.MEASURES} == pytest.approx(
            {name: row[name] for name in plain_ray_tune.MEASURES}
        )
        assert metrics["excess_blocks"] == max(0, row["active_blocks"] - 2)
