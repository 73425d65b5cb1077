"""What happens at every report of a trial: the study is told, MLflow logs, the screen follows."""

import time
from collections.abc import Callable
from typing import Any

from ray import tune

from sweeper.driver.progress import Progress
from sweeper.driver.searcher import PackSearcher
from sweeper.driver.unsaved import Unsaved
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.tracker import Tracker

_PATIENCE = 60.0  # seconds without a running pack until a person is told


class SweepCallback(Unsaved, tune.Callback):
    """Carries each member's report from Ray Tune to the study, the tracker and the progress display.

    Args:
        study: is told what has been reported.
        searcher: takes back members of packs that were too large.
        tracker: logs.
        progress: shows.
        check: called where nothing is half done; may raise to end the sweep.
    """

    def __init__(
        self,
        study: SweepStudy,
        searcher: PackSearcher,
        tracker: Tracker,
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        self._study = study
        self._searcher = searcher
        self._tracker = tracker
        self._progress = progress
        self._check = check
        self._running: set[str] = set()
        self._idle_since: float | None = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Between two events of Tune's loop."""
        self._check()
        if self._running:
            self._idle_since = time.monotonic()
        elif self._idle_since is not None and time.monotonic() - self._idle_since > _PATIENCE:
            self._progress.say("waits for a node that has room for a trial")
            self._idle_since = None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Opens an MLflow run for each member."""
        self._running.add(trial.trial_id)
        record = self._study.record()
        self._tracker.sync(record, {member["key"]: () for member in trial.config["members"]})
        if self._progress.live:
            self._progress.update(record)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Passes on the reports of a pack."""
        # A pack whose process died begins again, also with members that had failed before.
        reports = [report for report in result["members"] if self._study.under_way(report["key"])]
        self._searcher.halve([report["key"] for report in reports if report["state"] == "again"])
        for report in reports:
            if report["state"] != "again":
                self._pass_on(report)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack whose process died is about to begin again."""
        self._running.discard(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """All members have ended, or go on elsewhere."""
        self._running.discard(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack's process died again and again: its members go on in smaller packs; alone, they fail."""
        self._running.discard(trial.trial_id)
        keys = [m["key"] for m in trial.config["members"] if self._study.under_way(m["key"])]
        if len(keys) > 1:
            self._searcher.halve(keys)
            return
        reason = str(trial.get_error() or "the trial's process ended").strip().splitlines()[-1]
        nothing: dict[str, Any] = {"metrics": {}, "epochs": [], "active": ()}
        for key in keys:
            self._pass_on({"key": key, "state": "failed", "reason": reason, **nothing})

    def _pass_on(self, report: dict[str, Any]) -> None:
        self._study.tell(report)
        record = self._study.record()
        self._tracker.sync(record, {report["key"]: report["epochs"]})
        self._progress.update(record, report)
