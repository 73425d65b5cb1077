"""The MLflow runs of a sweep: what they hold, and how they get what they lack, in few calls."""

import json
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from sweeper.errors import UserError
from sweeper.storage.optuna_storage import parse_url, shown
from sweeper.storage.outages import Patience, outage

T = TypeVar("T")

#: The key of the sweep's own run, which is the parent of all others.
SWEEP = "sweep"
# Lets the UI open an experiment on its runs, not on traces of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
#: The key of the view on an experiment's runs that `sweeper ui` names, and the tag in which the UI looks.
VIEW = "sweep"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
# MLflow takes 1000 entries in a batch, of which 100 parameters and 100 tags.
_PARAMS, _METRICS = 100, 800
_PAGE = 500


def tracking_uri(home: Path = Path()) -> str:
    """``MLFLOW_TRACKING_URI``, or the SQLite file ``mlflow.db`` in a folder, which is the working one."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
    return parse_url(uri).render_as_string(hide_password=False) if uri.startswith("postgres") else uri


def server(uri: str) -> str:
    """What a person reads, without a password."""
    return f"MLflow at {shown(uri)}"


def line(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check_mlflow(experiment: str, home: Path = Path()) -> None:
    """Asks MLflow for the experiment before anything is measured. An MLflow that is away may be so.

    Args:
        experiment: its name.
        home: as for `tracking_uri`.

    Raises:
        UserError: it refuses.
    """
    uri = tracking_uri(home)
    _be_brief()
    try:
        _experiment(MlflowClient(uri), experiment)
    except Exception as error:
        if outage(error) is None:
            raise UserError(
                f"{server(uri)} refuses: {line(error)}; nothing has begun; mend it or set MLFLOW_TRACKING_URI"
            ) from None


def views(uri: str) -> dict[str, str]:
    """For each sweep's experiment, by its name, the part of the UI's address that shows its runs."""
    found = MlflowClient(uri).search_experiments(order_by=["last_update_time DESC"])
    return {
        each.name: f"/#/experiments/{each.experiment_id}/runs?viewStateShareKey={VIEW}"
        for each in found
        if VIEW_TAG in each.tags
    }


def _experiment(client: MlflowClient, name: str) -> Experiment | None:
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage == "deleted":
        raise UserError(f"its experiment '{name}' is deleted; restore it, or give another --name")
    return found


def _be_brief() -> None:
    # MLflow's own trying again would hide an outage for minutes, and create a run a second time.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # It would tell of every table that it makes, and of every call that a database did not answer.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # And that it can make no schema of pictures.
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)


@dataclass(slots=True)
class Known:
    """A run that is in MLflow.

    Attributes:
        run_id: MLflow's name for it.
        status: as MLflow has it.
        described: whether it has its parameters.
        epoch: the last that has been logged; 0 if there is none.
    """

    run_id: str
    status: str = "RUNNING"
    described: bool = False
    epoch: int = 0
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What a run is to hold; times in ms.

    Attributes:
        params: gives the parameters; called for a run that has none yet.
        epochs: metrics whose step is their epoch; those of epochs that have been logged are left out.
        final: further metrics.
    """

    began: int
    tags: Mapping[str, str]
    params: Callable[[], Mapping[str, object]]
    epochs: Sequence[Metric] = ()
    final: Sequence[Metric] = ()
    status: str = "RUNNING"
    ended: int = 0


class Runs:
    """The runs of one sweep, by their tag ``key``. For one thread.

    Nothing is written twice where a call was cut off and is made again: a run is looked for before it is
    created again, and MLflow keeps a metric of the same name, value, step and time once.

    Args:
        experiment: its name.
        sweep_id: the tag by which the sweep's runs are found among those of others.
        adopt: whether runs without a sweep's id are the sweep's, which is older than ids.

    Attributes:
        known: the runs that are in MLflow.
    """

    def __init__(self, experiment: str, sweep_id: str, adopt: bool, uri: str, patience: Patience) -> None:
        self.known: dict[str, Known] = {}
        self._name, self._id, self._adopt = experiment, sweep_id, adopt
        self._uri, self._patience = uri, patience
        _be_brief()

    def open(self) -> None:
        """Finds or creates the experiment, and reads which runs there are."""
        self._patience.outlast(lambda again: self._open())

    def write(self, key: str, wanted: Wanted) -> None:
        """Writes what the run lacks; it is made if there is none."""
        if key not in self.known:
            self.known[key] = self._patience.outlast(lambda again: self._create(key, wanted, again))
        run = self.known[key]
        params = [] if run.described else [Param(name, str(v)) for name, v in wanted.params().items()]
        metrics = [*(metric for metric in wanted.epochs if metric.step > run.epoch), *wanted.final]
        tags = [RunTag(name, v) for name, v in wanted.tags.items() if run.tags.get(name) != v]
        for batch in range(max(-(-len(params) // _PARAMS), -(-len(metrics) // _METRICS), bool(tags))):
            self.call(
                self.client.log_batch,
                run.run_id,
                metrics[batch * _METRICS : (batch + 1) * _METRICS],
                params[batch * _PARAMS : (batch + 1) * _PARAMS],
                tags if batch == 0 else [],
            )
        run.described = run.described or bool(params)
        run.epoch = max([run.epoch, *(metric.step for metric in wanted.epochs)])
        run.tags |= wanted.tags
        self._set_status(run, wanted)

    def keep_view(self, columns: Sequence[str], order: str) -> None:
        """Lets the UI show the experiment's runs with these columns, the best first."""
        view = json.dumps({"selectedColumns": list(columns), "orderByKey": order, "orderByAsc": False})
        if self.call(self.client.get_experiment, self.experiment).tags.get(VIEW_TAG) != view:
            self.call(self.client.set_experiment_tag, self.experiment, VIEW_TAG, view)

    def log_artifact(self, key: str, place: str, path: Path) -> None:
        """Copies a file, or all files of a folder, to a place of a run."""
        run_id = self.known[key].run_id
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            folder = (Path(place) / file.relative_to(path).parent) if path.is_dir() else Path(place)
            where = folder.as_posix() if folder.parts else None
            self.call(self.client.log_artifact, run_id, str(file), where)

    def keep_artifacts(self, key: str, place: str, names: Collection[str]) -> None:
        """Deletes what a place of a run holds under other names."""
        run_id = self.known[key].run_id
        stale = [
            f.path
            for f in self.call(self.client.list_artifacts, run_id, place)
            if Path(f.path).name not in names
        ]
        if stale:
            uri = self.call(self.client.get_run, run_id).info.artifact_uri
            repository = get_artifact_repository(uri, tracking_uri=self._uri)
            for path in stale:
                self.call(repository.delete_artifacts, path)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """What a function of MLflow returns, once MLflow answers."""
        return self._patience.outlast(lambda again: function(*arguments))

    def _open(self) -> None:
        self.client = MlflowClient(self._uri)
        found = _experiment(self.client, self._name)
        self.experiment = (
            found.experiment_id
            if found
            else self.client.create_experiment(self._name, _artifacts(self._uri, self._name), _KIND)
        )
        if self._adopt:
            for run in self._search("tags.key != ''"):
                if "sweep_id" not in run.data.tags:
                    self.client.set_tag(run.info.run_id, "sweep_id", self._id)
        self.known = {run.data.tags["key"]: _known(run) for run in self._search(self._mine)}

    @property
    def _mine(self) -> str:
        return f"tags.sweep_id = '{self._id}'"

    def _search(self, what: str) -> Iterator[Run]:
        token = None
        while token != "":
            page = self.client.search_runs([self.experiment], what, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token or ""

    def _create(self, key: str, wanted: Wanted, again: bool) -> Known:
        """A new run; when tried again, the one that an earlier try has created unseen."""
        if again and (found := next(self._search(f"{self._mine} and tags.key = '{key}'"), None)):
            return _known(found)
        tags = {"key": key, "sweep_id": self._id, **wanted.tags}
        run = self.client.create_run(self.experiment, start_time=wanted.began, tags=tags)
        return Known(run.info.run_id, tags=tags)

    def _set_status(self, run: Known, wanted: Wanted) -> None:
        if wanted.status == run.status:
            return
        if wanted.status == "RUNNING":
            self.call(self.client.update_run, run.run_id, wanted.status)
        else:
            self.call(self.client.set_terminated, run.run_id, wanted.status, wanted.ended)
        run.status = wanted.status


def _artifacts(uri: str, experiment: str) -> str | None:
    """Where the files of an experiment go: beside a SQLite file, wherever MLflow's server puts them else."""
    file = uri.removeprefix("sqlite:///")
    return None if file == uri else str(Path(file).absolute().parent / "mlruns" / experiment)


def _known(run: Run) -> Known:
    return Known(
        run.info.run_id,
        status=run.info.status,
        described=bool(run.data.params),
        epoch=int(run.data.metrics.get("epoch", 0)),
        tags=dict(run.data.tags),
    )
