"""A trial as a model of MLflow, loaded again by MLflow alone."""

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from search_spaces import load_space
from sweeper.errors import UserError
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.tracked import End
from sweeper.tracking.tracker import Tracker
from sweeper.tracking.winner import register_model
from trainables import open_problem
from trainables.engine.evaluate import evaluate
from trainables.engine.training import Training
from trainables.export import FORMATS, Trained, load_given

SPACE = load_space(
    "spaces/clip_lambda.yaml",
    ["baselines=[]", "search.trials=1", "data.ood=[]", "training.epochs=1", "budget={active_blocks: 2}"],
)


def test_the_winner_is_a_model_that_mlflow_loads_and_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    problem = open_problem(SPACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    study = SweepStudy.create(SPACE, ("a", "b"), {}, 1, open_storage(None, tmp_path / "journal"))
    job = study.next_trial()
    assert job is not None
    metrics = {"id_accuracy": 80.0, "forgetting": 1.0, "active_blocks": 2, "epoch": 0}
    study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": (), "reason": None})
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    FORMATS["adapter"](Trained(Training(problem, [SPACE]), SPACE.model, {}), adapter)
    trial = study.record().trials[0]

    with pytest.raises(UserError, match=r"--register best: MLflow at .* resume clip_lambda` writes it"):
        register_model(study, trial, adapter, "best")
    for _ in range(2):  # a sweep that is gone on with keeps its winner once
        tracker = Tracker(study, lambda key: [], print)
        tracker.open()
        tracker.close(study.record(), End("FINISHED", {}, (trial, adapter)))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert (model.name, str(model.status), model.tags["key"]) == ("winner", "READY", "trial-0000")
    assert [register_model(study, trial, adapter, "best") for _ in range(2)] == ["1", "2"]

    images = problem.task.val
    loaded = mlflow.pyfunc.load_model("models:/best/2")
    probabilities = loaded.predict(images.pixels.numpy())
    assert tuple(probabilities.columns) == problem.task.classes
    right = np.mean(probabilities.to_numpy().argmax(axis=1) == images.labels.numpy())
    pictures = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in images.pixels[:3]]
    pictures[1].save("one.png")
    for some in (pictures, [np.asarray(p) for p in pictures], np.stack([np.asarray(p) for p in pictures])):
        np.testing.assert_allclose(loaded.predict(some), probabilities[:3], atol=1e-5)
    for one in ("one.png", ["one.png"], pictures[1], pd.DataFrame({"path": ["one.png"]})):
        np.testing.assert_allclose(loaded.predict(one), probabilities[1:2], atol=1e-5)
    given = load_given(adapter, problem.backbone, SPACE.model)
    assert 100 * right == pytest.approx(evaluate(problem, given, SPACE)["id_accuracy"])
