"""The recommended trial as a model that MLflow keeps, and that can be registered."""

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import mlflow.pyfunc
from mlflow.entities import LoggedModelOutput

from sweeper.errors import UserError
from sweeper.storage.outages import Patience
from sweeper.study.records import TrialRecord
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.runs import SWEEP, Runs, line, server, tracking_uri

_NAME = "winner"
_NEEDED = ("mlflow", "numpy", "open_clip_torch", "pandas", "safetensors", "timm", "torch", "torchvision")


def log_winner(runs: Runs, trial: TrialRecord, adapter: Path) -> str:
    """Keeps a trial's adapter as a model of the sweep's run, unless it is kept already; the model's id.

    It is MLflow's pyfunc: see `sweeper.tracking.served`.
    """
    run_id = runs.known[SWEEP].run_id
    kept = runs.call(runs.client.search_logged_models, [runs.experiment], f"source_run_id = '{run_id}'")
    for model in kept:
        if model.tags.get("key") == trial.key and model.status == "READY":
            return str(model.model_id)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / _NAME
        _save(adapter, folder)
        model = runs.call(runs.client.create_logged_model, runs.experiment, _NAME, run_id, {"key": trial.key})
        runs.call(runs.client.log_model_artifacts, model.model_id, str(folder))
    runs.call(runs.client.finalize_logged_model, model.model_id, "READY")
    runs.call(runs.client.log_outputs, run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def register_model(
    study: SweepStudy, trial: TrialRecord, adapter: Path, name: str, home: Path = Path()
) -> str:
    """Makes a trial the next version of a registered model, which may be new; the number of the version.

    Args:
        study, trial: the trial and its sweep.
        adapter: the folder of what the trial has learned.
        name: of the registered model.
        home: as for `tracking_uri`.

    Raises:
        UserError: MLflow has no run of the sweep, is away or refuses.
    """
    uri = tracking_uri(home)
    runs = Runs(study.space.sweep, study.identify(), study.predates_ids, uri, Patience(server(uri), None))
    try:
        runs.open()
        if SWEEP not in runs.known:
            raise UserError(f"it has no run of the sweep; `python -m sweeper resume {study.name}` writes it")
        model_id = log_winner(runs, trial, adapter)
        if not runs.call(runs.client.search_registered_models, f"name = '{name}'"):
            runs.call(runs.client.create_registered_model, name)
        run_id, source = runs.known[SWEEP].run_id, f"models:/{model_id}"
        made = runs.client.create_model_version(name, source, run_id, model_id=model_id)
    except Exception as error:
        raise UserError(f"--register {name}: {server(uri)}: {line(error)}") from None
    return str(made.version)


def _save(adapter: Path, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like an example of a picture, and one kind of input
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"adapter": str(adapter)},
            pip_requirements=[f"{package}=={version(package)}" for package in _NEEDED],
        )
