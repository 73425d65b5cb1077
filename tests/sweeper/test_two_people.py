"""Two people run a space of one name, each in a folder of their own, with one MLflow and one PostgreSQL."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from postgres import server
from workplace import Workplace, run_arguments, trials

pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Desk(Workplace):
    """A person's folder, with the database and the MLflow of all."""

    storage: str = ""

    @property
    def environment(self) -> dict[str, str]:
        mlflow = f"sqlite:///{self.folder.parent}/mlflow.db"
        return super().environment | {"MLFLOW_TRACKING_URI": mlflow, "SWEEPER_STORAGE": self.storage}


def test_each_has_their_own_runs_front_and_report(tmp_path: Path) -> None:
    small = ("search.trials=2", "baselines=[]", "training.epochs=1", "budget={active_blocks: 32}")
    with server() as postgres:
        one, other = (Desk(tmp_path / name, postgres.url) for name in ("one", "other"))
        told = []
        for place, seed in ((one, 0), (other, 7)):
            place.folder.mkdir()
            arguments = run_arguments(*small, f"search.seed={seed}")
            told.append(place.sweeper(*arguments))
    assert "keeps this one as 'clip_lambda-" not in told[0] and "keeps this one as 'clip_lambda-" in told[1]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == 6
    frames: list[pd.DataFrame] = [trials(place) for place in (one, other)]
    assert not frames[0]["method.lambda"].equals(frames[1]["method.lambda"])
    parents = [run for run in found if run.data.tags["role"] == "sweep"]
    for place, frame in zip((one, other), frames, strict=True):
        sweep_id = json.loads((place.folder / "sweeps/clip_lambda/sweep.json").read_text())["id"]
        runs = {
            run.data.tags["key"]: run.data.params["method.lambda"]
            for run in found
            if run.data.tags["sweep_id"] == sweep_id and run not in parents
        }
        assert runs == {key: str(price) for key, price in frame["method.lambda"].items()}
        (parent,) = (run for run in parents if run.data.tags["sweep_id"] == sweep_id)
        assert parent.data.tags["knee"] in frame.index[frame.front]
        assert (
            parent.data.tags["mlflow.user"] and "clip_lambda.yaml" in parent.data.tags["mlflow.source.name"]
        )
        (model,) = (
            m
            for m in client.search_logged_models([experiment.experiment_id])
            if m.source_run_id == parent.info.run_id
        )
        assert model.tags["key"] == parent.data.tags["knee"]
