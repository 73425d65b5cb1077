"""MLflow: one experiment a sweep name, one parent run a sweep, one nested run for all that is trained."""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from search_spaces import Space, parse_space
from sweeper.storage.optuna_storage import parse_url, shown
from sweeper.storage.outages import Patience, Waiting
from sweeper.study.reading import space_of
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.tracking.runs import Runs

DEFAULT_URI = "sqlite:///mlflow.db"
History = Callable[[str], Iterable[Mapping[str, float]]]
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
# What has been asked for is merged run by run, but not more at once than memory holds with ease.
_AT_ONCE = 200


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or a SQLite file in the working directory."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    return parse_url(uri).render_as_string(hide_password=False) if uri.startswith("postgres") else uri


class Tracker:
    """Writes a sweep's runs on a thread of its own, so that the sweep never waits for it.

    While MLflow is away all is kept in memory; then it is written, once. A run is found again by its tag
    ``key``. What a killed driver had not written is made good by `reconcile`.

    Args:
        space: the sweep's.
        waiting: told when MLflow is away and when it is back, in the tracker's thread; None to let `flush`
            raise that it is away.
    """

    def __init__(self, space: Space, waiting: Waiting | None = None) -> None:
        self._space = space
        self._epochs: dict[str, int] = {}
        self._front: frozenset[str] = frozenset()
        self._error: Exception | None = None
        self._given_up = threading.Event()
        uri = tracking_uri()
        self._runs = Runs(space.sweep, uri, Patience(f"MLflow at {shown(uri)}", waiting, self._given_up))
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self._submit(self._open)
        threading.Thread(target=self._work, name="mlflow", daemon=True).start()

    def start(self, key: str, space: str) -> None:
        """Opens the run of what is about to be trained, if it has none yet; ``space`` is its own, as JSON.

        As text it takes a sixth of the memory that a space does, while MLflow is behind.
        """
        now = _now()
        self._submit(lambda: self._begin(key, parse_space(json.loads(space)), now))

    def log(self, report: Mapping[str, Any], record: SweepRecord) -> None:
        """Writes a report's new epochs and, at its end, the final metrics, the state and the front."""
        key, now = report["key"], _now()
        self._submit(self._runs.note, key, now, metrics=self._new_epochs(key, report["epochs"], now))
        if report["state"] != "running":
            self._submit(self._end, record.run(key), self._epochs.pop(key, 0), now)
            self._submit(self._tag_front, frozenset(record.front))

    def reconcile(self, record: SweepRecord, history: History) -> None:
        """Brings the runs of ended trials to what the study says. ``history`` gives a trial's epochs."""
        for trial in record.runs:
            if trial.state in _STATUS:
                self._submit(self._make_good, trial, record, history)
        self._submit(self._tag_front, frozenset(record.front))

    def close(self, record: SweepRecord, status: str, artifacts: Mapping[str, Path]) -> None:
        """Logs the artifacts (files or folders by their place in the parent run), ends the parent run.

        Waits until MLflow has all. If that is interrupted, what is missing is left to `reconcile`.
        """
        for place, path in artifacts.items():
            self._submit(self._runs.log_artifact, "sweep", place, path)
        self._submit(self._end_parent, record, status, _now())
        try:
            self.flush()
        finally:
            self._given_up.set()
            self._submit(_nothing)

    def flush(self) -> None:
        """Waits until all is written; raises what went wrong first in writing."""
        self._calls.join()
        if self._error:
            raise self._error

    def _submit(self, function: Callable[..., None], *arguments: Any, **named: Any) -> None:
        self._calls.put(partial(function, *arguments, **named))

    def _work(self) -> None:
        """Does what has been asked for, which notes what is to be written, and then writes it."""
        while not self._given_up.is_set():
            calls = [self._calls.get()]
            with suppress(queue.Empty):
                while len(calls) < _AT_ONCE:
                    calls.append(self._calls.get_nowait())
            for call in (*calls, self._write):
                try:
                    call()
                except Exception as error:
                    self._error = self._error or error
            for _ in calls:
                self._calls.task_done()

    def _write(self) -> None:
        for error in self._runs.write():
            self._error = self._error or error

    def _open(self) -> None:
        self._runs.open()
        self._front = frozenset(key for key, run in self._runs.known.items() if run.front)
        self._runs.note("sweep", _now(), self._space.flat(), tags=self._tags("sweep"), status="RUNNING")
        self._write()
        parent = self._runs.known["sweep"]
        # Its summary is written anew whenever the sweep ends.
        parent.inherited = frozenset()
        self._parent = parent.run_id

    def _tags(self, key: str) -> dict[str, str]:
        """By which a run is found."""
        name = self._space.sweep if key == "sweep" else key
        return {"key": key, MLFLOW_RUN_NAME: name, "sweep": self._space.sweep, "role": key.split("-")[0]}

    def _begin(self, key: str, space: Space, at: int) -> None:
        tags = self._tags(key) | {MLFLOW_PARENT_RUN_ID: self._parent, "method": space.method.name}
        self._runs.note(key, at, space.flat(), tags=tags, status="RUNNING")

    def _new_epochs(self, key: str, epochs: Iterable[Mapping[str, float]], at: int) -> list[Metric]:
        """Metrics of epochs that this driver has not logged."""
        new = [epoch for epoch in epochs if epoch["epoch"] > self._epochs.get(key, 0)]
        if new:
            self._epochs[key] = int(new[-1]["epoch"])
        return [metric for epoch in new for metric in _metrics(epoch, int(epoch["epoch"]), at)]

    def _end(self, trial: TrialRecord, epoch: int, at: int) -> None:
        """Final metrics that no epoch has logged, the curve, tags, and the run's status."""
        known = self._runs.known.get(trial.key)
        epoch = max(epoch, known.epoch if known else 0)
        final = {n: v for n, v in trial.metrics.items() if n.startswith("test/") or not epoch}
        tags = {"state": trial.state, "feasible": str(trial.feasible).lower(), "reason": trial.reason or ""}
        tags["active"] = ",".join(trial.active)
        metrics = [*_metrics(final, epoch, at), *_curve(trial, at)]
        self._runs.note(trial.key, at, metrics=metrics, tags=tags, status=_STATUS[trial.state])

    def _make_good(self, trial: TrialRecord, record: SweepRecord, history: History) -> None:
        known, now = self._runs.known.get(trial.key), _now()
        if known and known.described and known.status == _STATUS[trial.state]:
            return
        self._begin(trial.key, space_of(self._space, record, trial), now)
        # A pruned trial may have trained on with its pack.
        last = trial.metrics.get("epoch", 0)
        epochs = [epoch for epoch in history(trial.key) if epoch["epoch"] <= last]
        self._runs.note(
            trial.key, now, metrics=[m for e in epochs for m in _metrics(e, int(e["epoch"]), now)]
        )
        self._end(trial, int(epochs[-1]["epoch"]) if epochs else 0, now)

    def _tag_front(self, front: frozenset[str]) -> None:
        for key in front ^ self._front:
            self._runs.note(key, _now(), tags={"front": str(key in front).lower()})
        self._front = front

    def _end_parent(self, record: SweepRecord, status: str, at: int) -> None:
        summary = {
            "trials_complete": sum(trial.state == "complete" for trial in record.trials),
            "trials_feasible": sum(trial.feasible for trial in record.trials),
            "trials_pruned": sum(trial.state == "pruned" for trial in record.trials),
            "front_size": len(record.front),
        }
        self._runs.note("sweep", at, metrics=_metrics(summary, 0, at), status=status)


def _now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)


def _nothing() -> None:
    """What wakes the thread."""


def _metrics(values: Mapping[str, float], step: int, at: int) -> list[Metric]:
    return [Metric(name, float(value), at, step) for name, value in values.items()]


def _curve(trial: TrialRecord, at: int) -> list[Metric]:
    """The WiSE-FT curve as ``wise_ft/<metric>``; MLflow's steps are whole, so a step is a tenth of a."""
    return [
        metric
        for point in trial.curve
        for metric in _metrics(
            {f"wise_ft/{name}": value for name, value in point.items() if name != "a"},
            round(10 * point["a"]),
            at,
        )
    ]
