"""What happens at every report of a trial: the study is told, MLflow logs, the screen follows."""

from typing import Any

from ray import tune

from sweeper.progress import Progress
from sweeper.study import SweepStudy
from sweeper.tracking import Tracker
from sweeper.unsaved import Unsaved


class SweepCallback(Unsaved, tune.Callback):
    """Carries each member's report from Ray Tune to the study, the tracker and the progress display."""

    def __init__(self, study: SweepStudy, tracker: Tracker, progress: Progress) -> None:
        self._study = study
        self._tracker = tracker
        self._progress = progress

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Opens an MLflow run for each member."""
        for member in trial.config["members"]:
            self._tracker.start(member["key"], member["space"])
        self._progress.update(self._study.record())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Passes on the reports of a pack."""
        for report in result["members"]:
            # A pack whose process died begins again, also with members that had failed before.
            if self._study.under_way(report["key"]):
                self._pass_on(report)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack whose process is gone has failed, except for members that had ended before."""
        reason = str(trial.get_error() or "the trial's process ended").strip().splitlines()[-1]
        for member in trial.config["members"]:
            if self._study.under_way(member["key"]):
                self._pass_on(
                    {
                        "key": member["key"],
                        "state": "failed",
                        "reason": reason,
                        "metrics": {},
                        "epochs": [],
                        "active": (),
                    }
                )

    def _pass_on(self, report: dict[str, Any]) -> None:
        self._study.tell(report)
        record = self._study.record()
        self._tracker.log(report, record)
        self._progress.update(record, report)
