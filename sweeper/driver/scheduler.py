"""What happens at every event of Ray Tune: the study is told, MLflow logs, the screen follows."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeper.driver.cluster import busy
from sweeper.driver.faults import Faults
from sweeper.driver.progress import Progress
from sweeper.driver.pruner import judged
from sweeper.driver.searcher import PackSearcher
from sweeper.driver.unsaved import Unsaved
from sweeper.study.sweep_study import Report, SweepStudy
from sweeper.tracking.tracked import Follows
from trainables.faults import machine_fault

# Seconds without a running pack until a person is told what it waits for, and that a node may have to come.
_SOON, _PATIENCE = 5.0, 60.0
_STARTING, _NO_ROOM = "starting a process for trials", "waits for a node that has room for a trial"


class SweepScheduler(Unsaved, FIFOScheduler):
    """Carries each member's report from Ray Tune to the study, the tracker and the screen; stops packs.

    Args:
        study: is told what has been reported.
        searcher: takes back members that are to be tried again.
        faults: says whether they are.
        tracker: logs.
        progress: shows.
        check: called where nothing is half done; may raise to end the sweep.
    """

    def __init__(
        self,
        study: SweepStudy,
        searcher: PackSearcher,
        faults: Faults,
        tracker: Follows,
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        super().__init__()
        self._study = study
        self._searcher = searcher
        self._faults = faults
        self._tracker = tracker
        self._progress = progress
        self._check = check
        self._idle_since = time.monotonic()

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Between two events of Tune's loop."""
        self._check()
        trials = tune_controller.get_live_trials()
        if not trials or any(trial.status == Trial.RUNNING for trial in trials):
            self._idle_since = time.monotonic()
            self._progress.wait(None)
        elif (idle := time.monotonic() - self._idle_since) > _SOON:
            self._progress.wait(self._lacks(tune_controller, idle))
        return super().choose_trial_to_run(tune_controller)

    def _lacks(self, tune_controller: Any, idle: float) -> str:
        """What the packs wait for that none of has run for so many seconds."""
        if tune_controller._actor_manager.num_live_actors:  # which have what they asked for
            return _STARTING
        return busy(self._study.space) or (_NO_ROOM if idle > _PATIENCE else _STARTING)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Opens an MLflow run for each member."""
        record = self._study.record()
        self._tracker.sync(record, {member["key"]: () for member in trial.config["members"]})
        if self._progress.live:
            self._progress.update(record)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Passes on the reports of a pack, which stops when none of its members is under way."""
        reports = [report for report in result["members"] if self._study.under_way(report["key"])]
        for report in reports:
            self._faults.progressed(report["key"])
        self._searcher.halve([report["key"] for report in reports if report["state"] == "again"])
        reports = judged(self._study, [report for report in reports if report["state"] != "again"])
        for report in reports:
            self._pass_on(report)
        going_on = any(report["state"] == "running" for report in reports)
        return str(TrialScheduler.CONTINUE if going_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A pack's process has ended: its members go on in another. If that does not help, in smaller packs.

        One that is alone then has failed.
        """
        keys = [m["key"] for m in trial.config["members"] if self._study.under_way(m["key"])]
        cause = _cause(trial)
        machine = cause is not None and machine_fault(cause)
        reason = _line(cause)
        if not self._faults.enough(keys, reason if machine else None):
            self._searcher.put_back(keys, machine)
        elif len(keys) > 1:
            self._searcher.halve(keys)
        else:
            self._fail(keys, reason)

    def _fail(self, keys: Sequence[str], reason: str) -> None:
        nothing: dict[str, Any] = {"metrics": {}, "epochs": [], "active": ()}
        for key in keys:
            self._pass_on({"key": key, "state": "failed", "reason": reason, **nothing})

    def _pass_on(self, report: Report) -> None:
        self._study.tell(report)
        record = self._study.record()
        self._tracker.sync(record, {report["key"]: report["epochs"]})
        self._progress.update(record, report)


def _cause(trial: Trial) -> BaseException | None:
    """What a pack's process has ended with, which Tune has just written down; None where it cannot be read.

    Tune's own reader looks where the file will be copied to.
    """
    try:
        error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # Whatever the process has raised may be hard to build again here.
        return None
    return error.cause if isinstance(error, RayTaskError) else error  # type: ignore[no-any-return]


def _line(error: BaseException | None) -> str:
    """An error in a line; Ray's own on a process that is gone has a page, and no reason."""
    if error is None or isinstance(error, RayActorError):
        return "the trial's process ended"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error) else ''}"
