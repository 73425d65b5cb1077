"""The MLflow runs of a sweep: what they are to hold is noted, and written in as few calls as it takes."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from sweeper.storage.outages import Patience

T = TypeVar("T")

# Lets the UI open an experiment on its runs, not on traces of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
# MLflow takes 1000 entries in a batch, of which 100 parameters and 100 tags.
_PARAMS, _METRICS = 100, 800
_PAGE = 500


@dataclass(slots=True)
class Known:
    """A run that is in MLflow.

    Attributes:
        run_id: MLflow's name for it.
        status: as MLflow has it.
        described: whether it has its parameters.
        epoch: the last that an earlier driver has logged; 0 if there is none.
        front: whether it is tagged as on the front.
        inherited: names of the metrics that an earlier driver has logged, and which this one has not looked
            through.
    """

    run_id: str
    status: str = "RUNNING"
    described: bool = False
    epoch: int = 0
    front: bool = False
    inherited: frozenset[str] = frozenset()


@dataclass
class _Unwritten:
    """What a run is to hold beyond what it has in MLflow; times in ms."""

    since: int
    params: list[Param] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    status: str | None = None
    until: int = 0


class Runs:
    """The runs of one experiment, by their tag ``key``. For one thread.

    Nothing is written twice where a call was cut off and is made again: a run is looked for before it is
    created again, and MLflow keeps a metric of the same name, value, step and time once.

    Attributes:
        known: the runs that are in MLflow.
    """

    def __init__(self, experiment: str, uri: str, patience: Patience) -> None:
        self.known: dict[str, Known] = {}
        self._name = experiment
        self._uri = uri
        self._patience = patience
        self._unwritten: dict[str, _Unwritten] = {}
        # MLflow's own trying again would hide an outage for minutes, and create a run a second time.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        # It would tell of every table that it makes, and of every call that a database did not answer.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

    def open(self) -> None:
        """Finds or creates the experiment, and reads which runs there are."""
        self._patience.outlast(lambda again: self._open())

    def note(
        self,
        key: str,
        at: int,
        params: Mapping[str, object] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
        status: str | None = None,
    ) -> None:
        """Notes what a run is to hold, and when that came to be, in ms; it is made if there is none."""
        new = self._unwritten.setdefault(key, _Unwritten(at))
        new.params = new.params or [Param(name, str(value)) for name, value in (params or {}).items()]
        new.metrics.extend(metrics)
        new.tags.update(tags or {})
        if status:
            new.status, new.until = status, at

    def write(self) -> Iterator[Exception]:
        """Writes all that has been noted; gives what went wrong with a run, whose rest is not written."""
        noted, self._unwritten = self._unwritten, {}
        for key, new in noted.items():
            try:
                self._write(key, new)
            except Exception as error:
                yield error

    def log_artifact(self, key: str, place: str, path: Path) -> None:
        """Copies a file, or all files of a folder, to a place of a run."""
        run_id = self.known[key].run_id
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            folder = (Path(place) / file.relative_to(path).parent) if path.is_dir() else Path(place)
            self._call(self._client.log_artifact, run_id, str(file), folder.as_posix())

    def _open(self) -> None:
        self._client = MlflowClient(self._uri)
        experiment = self._client.get_experiment_by_name(self._name)
        self._experiment = (
            experiment.experiment_id if experiment else self._client.create_experiment(self._name, tags=_KIND)
        )
        self.known = {run.data.tags["key"]: _known(run) for run in self._search("tags.key != ''")}

    def _search(self, what: str) -> Iterator[Run]:
        token = None
        while token != "":
            page = self._client.search_runs([self._experiment], what, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token or ""

    def _write(self, key: str, new: _Unwritten) -> None:
        tags = dict(new.tags)
        if key not in self.known:
            self.known[key] = self._patience.outlast(lambda again: self._create(key, new, again))
            tags.clear()
        run = self.known[key]
        params = [] if run.described else new.params
        metrics = self._unlogged(run, new.metrics)
        batches = max(-(-len(params) // _PARAMS), -(-len(metrics) // _METRICS), 1 if tags else 0)
        for batch in range(batches):
            self._call(
                self._client.log_batch,
                run.run_id,
                metrics[batch * _METRICS : (batch + 1) * _METRICS],
                params[batch * _PARAMS : (batch + 1) * _PARAMS],
                [RunTag(name, value) for name, value in tags.items()] if batch == 0 else [],
            )
        run.described = run.described or bool(params)
        if new.status == "RUNNING" != run.status:
            self._call(self._client.update_run, run.run_id, new.status)
        elif new.status not in (None, run.status):
            self._call(self._client.set_terminated, run.run_id, new.status, new.until)
        run.status = new.status or run.status

    def _create(self, key: str, new: _Unwritten, again: bool) -> Known:
        """A new run; when tried again, the one that an earlier try has created unseen."""
        if again and (found := next(self._search(f"tags.key = '{key}'"), None)):
            return _known(found)
        run = self._client.create_run(self._experiment, start_time=new.since, tags={"key": key, **new.tags})
        return Known(run.info.run_id)

    def _unlogged(self, run: Known, metrics: list[Metric]) -> list[Metric]:
        """Those that no killed driver has logged, by name and step: it may have logged a part of an epoch."""
        if not metrics or not run.inherited:
            return metrics
        there = {
            (point.key, point.step)
            for name in run.inherited & {metric.key for metric in metrics}
            for point in self._call(self._client.get_metric_history, run.run_id, name)
        }
        run.inherited = frozenset()
        return [metric for metric in metrics if (metric.key, metric.step) not in there]

    def _call(self, function: Callable[..., T], *arguments: object) -> T:
        return self._patience.outlast(lambda again: function(*arguments))


def _known(run: Run) -> Known:
    return Known(
        run.info.run_id,
        status=run.info.status,
        described=bool(run.data.params),
        epoch=int(run.data.metrics.get("epoch", 0)),
        front=run.data.tags.get("front") == "true",
        inherited=frozenset(run.data.metrics),
    )
