"""MLflow: one experiment a sweep name, one parent run a sweep, one nested run for all that is trained."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from search_spaces import Space, parse_space
from sweeper.reading import space_of
from sweeper.records import SweepRecord, TrialRecord

DEFAULT_URI = "sqlite:///mlflow.db"
# It would tell of every table that it makes.
logging.getLogger("mlflow").setLevel(logging.WARNING)
# Lets the UI open an experiment on its runs, not on traces of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_LARGEST_BATCH = 1000
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or a SQLite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


class Tracker:
    """Writes a sweep's runs, in order, on a thread of its own, so that the sweep never waits for it.

    A run is found again by its tag ``key``. What a killed driver had not written is made good by
    `reconcile`.
    """

    def __init__(self, space: Space) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._pending: list[Future[None]] = []
        self._runs: dict[str, str] = {}
        self._logged: dict[str, int] = {}
        self._front: frozenset[str] = frozenset()
        self._space = space
        self._submit(self._open)

    def start(self, key: str, space: Mapping[str, Any]) -> None:
        """Opens the run of what is about to be trained, if it has none yet."""
        self._submit(self._ensure_run, key, parse_space(space))

    def log(self, report: Mapping[str, Any], record: SweepRecord) -> None:
        """Writes a report's new epochs and, at its end, the final metrics, the state and the front."""
        self._submit(self._log_epochs, report["key"], list(report["epochs"]))
        if report["state"] != "running":
            self._submit(self._end, _find(record, report["key"]))
            self._submit(self._tag_front, record)

    def reconcile(self, record: SweepRecord, history: Callable[[str], Iterable[Mapping[str, float]]]) -> None:
        """Brings the runs of ended trials to what the study says. ``history`` gives a trial's epochs."""
        for trial in record.runs:
            if trial.state in _STATUS:
                self._submit(self._make_good, trial, space_of(self._space, record, trial), history)
        self._submit(self._tag_front, record)

    def close(self, record: SweepRecord, status: str, artifacts: Mapping[str, Path]) -> None:
        """Logs the artifacts (files or folders by their place in the parent run), ends the parent run."""
        for place, path in artifacts.items():
            self._submit(self._log_artifact, place, path)
        self._submit(self._end_parent, record, status)
        self.flush()
        self._thread.shutdown()

    def flush(self) -> None:
        """Waits until all is written; raises what went wrong in writing."""
        for future in self._pending:
            future.result()
        self._pending.clear()

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        self._pending = [future for future in self._pending if not future.done() or future.exception()]
        self._pending.append(self._thread.submit(function, *arguments))

    def _open(self) -> None:
        self._client = MlflowClient(tracking_uri())
        experiment = self._client.get_experiment_by_name(self._space.sweep)
        self._experiment = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(self._space.sweep, tags=_KIND)
        )
        runs = {run.data.tags["key"]: run for run in self._all_runs()}
        parent = runs.pop("sweep", None) or self._create("sweep", self._space, {"role": "sweep"})
        self._parent = parent.info.run_id
        self._client.update_run(self._parent, status="RUNNING")
        for key, run in runs.items():
            self._runs[key] = run.info.run_id
            self._logged[key] = int(run.data.metrics.get("epoch", 0))

    def _all_runs(self) -> Iterable[Run]:
        token = None
        while token != "":
            page = self._client.search_runs(
                [self._experiment], "tags.key != ''", max_results=1000, page_token=token
            )
            yield from page
            token = page.token or ""

    def _create(self, key: str, space: Space, tags: Mapping[str, str]) -> Run:
        name = space.sweep if key == "sweep" else key
        run = self._client.create_run(
            self._experiment, tags={"key": key, MLFLOW_RUN_NAME: name, "sweep": space.sweep, **tags}
        )
        parameters = [Param(name, str(value)) for name, value in space.flat().items()]
        self._client.log_batch(run.info.run_id, params=parameters)
        return run

    def _ensure_run(self, key: str, space: Space) -> None:
        if key in self._runs:
            self._client.update_run(self._runs[key], status="RUNNING")
            return
        tags = {MLFLOW_PARENT_RUN_ID: self._parent, "role": key.split("-")[0], "method": space.method.name}
        self._runs[key] = self._create(key, space, tags).info.run_id

    def _log_epochs(self, key: str, epochs: Iterable[Mapping[str, float]]) -> None:
        new = [epoch for epoch in epochs if epoch["epoch"] > self._logged.get(key, 0)]
        if new:
            metrics = [metric for epoch in new for metric in _metrics(epoch, int(epoch["epoch"]))]
            self._log_metrics(self._runs[key], metrics)
            self._logged[key] = int(new[-1]["epoch"])

    def _end(self, trial: TrialRecord) -> None:
        """Final metrics that no epoch has logged, the curve, tags, and the run's status."""
        logged = self._logged.get(trial.key, 0)
        final = {n: v for n, v in trial.metrics.items() if n.startswith("test/") or not logged}
        tags = {"state": trial.state, "feasible": trial.feasible, "reason": trial.reason or ""}
        tags["active"] = ",".join(trial.active)
        run_id = self._runs[trial.key]
        written = [RunTag(n, str(v).lower() if isinstance(v, bool) else v) for n, v in tags.items()]
        self._log_metrics(run_id, [*_metrics(final, logged), *_curve(trial)], written)
        self._client.set_terminated(run_id, _STATUS[trial.state])

    def _log_metrics(self, run_id: str, metrics: list[Metric], tags: Sequence[RunTag] = ()) -> None:
        """One batch, or as many as MLflow's limit on a batch asks for; the tags are in the first."""
        for first in range(0, max(len(metrics), 1), _LARGEST_BATCH):
            batch = metrics[first : first + _LARGEST_BATCH]
            self._client.log_batch(run_id, metrics=batch, tags=[] if first else tags)

    def _make_good(
        self, trial: TrialRecord, space: Space, history: Callable[[str], Iterable[Mapping[str, float]]]
    ) -> None:
        if trial.key not in self._runs:
            self._ensure_run(trial.key, space)
        run = self._client.get_run(self._runs[trial.key])
        if run.info.status != _STATUS[trial.state]:
            # A pruned trial may have trained on with its pack.
            last = trial.metrics.get("epoch", 0)
            self._log_epochs(trial.key, [epoch for epoch in history(trial.key) if epoch["epoch"] <= last])
            self._end(trial)

    def _tag_front(self, record: SweepRecord) -> None:
        front = frozenset(record.front)
        for key in front ^ self._front:
            self._client.set_tag(self._runs[key], "front", str(key in front).lower())
        self._front = front

    def _log_artifact(self, place: str, path: Path) -> None:
        if path.is_dir():
            self._client.log_artifacts(self._parent, str(path), place)
        else:
            self._client.log_artifact(self._parent, str(path), place)

    def _end_parent(self, record: SweepRecord, status: str) -> None:
        summary = {
            "trials_complete": sum(trial.state == "complete" for trial in record.trials),
            "trials_feasible": sum(trial.feasible for trial in record.trials),
            "trials_pruned": sum(trial.state == "pruned" for trial in record.trials),
            "front_size": len(record.front),
        }
        self._client.log_batch(self._parent, metrics=_metrics(summary, 0))
        self._client.set_terminated(self._parent, status)


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, step) for name, value in values.items()]


def _curve(trial: TrialRecord) -> list[Metric]:
    """The WiSE-FT curve as ``wise_ft/<metric>``; MLflow's steps are whole, so a step is a tenth of a."""
    return [
        metric
        for point in trial.curve
        for metric in _metrics(
            {f"wise_ft/{name}": value for name, value in point.items() if name != "a"}, round(10 * point["a"])
        )
    ]


def _find(record: SweepRecord, key: str) -> TrialRecord:
    return next(trial for trial in record.runs if trial.key == key)
