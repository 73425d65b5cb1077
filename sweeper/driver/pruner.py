"""Stops trials that others clearly beat, before they have trained to their end."""

from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune

from sweeper.driver.unsaved import Unsaved
from sweeper.study.reading import Objectives
from sweeper.study.sweep_study import Report, SweepStudy

_FEWEST = 3


def beaten_by(own: Objectives, others: Sequence[Objectives]) -> int:
    """How many others dominate a trial, if that is reason enough to stop it; else 0.

    Another trial dominates if it is at least as good in both ID accuracy and forgetting and better in one.
    A trial is stopped when at least 3 of the others dominate it, and these are at least half of them.
    """
    accuracy, forgetting = own
    dominating = sum(other != own and other[0] >= accuracy and other[1] <= forgetting for other in others)
    return dominating if dominating >= max(_FEWEST, len(others) / 2) else 0


def is_rung(epoch: int) -> bool:
    """Whether trials are judged after this epoch: 1, 2, 4, 8 ..."""
    return epoch.bit_count() == 1


class Pruner(Unsaved, tune.Stopper):
    """Judges the trials of a pack when it reports, and stops a pack whose members have all ended.

    At a rung before its last epoch a trial that is inside the budget is held against all others that were
    inside it at the same rung: finished, running or pruned. Baselines and confirmations are never judged.

    Ray Tune asks the stopper before it calls the callbacks, with the same result. So a report is turned
    into that of a pruned trial in place, and the sweep's callback tells the study.
    """

    def __init__(self, study: SweepStudy) -> None:
        self._study = study

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether no member of the pack is running any more."""
        reports = [report for report in result["members"] if self._study.under_way(report["key"])]
        trials = [report for report in reports if report["key"].startswith("trial-")]
        for report in trials:
            report["rungs"] = self._passed(report)
        if any(report["rungs"] for report in trials):
            self._judge_all(trials)
        return all(report["state"] != "running" for report in reports)

    def stop_all(self) -> bool:
        """The sweep is never stopped as a whole."""
        return False

    def _passed(self, report: Report) -> dict[int, Objectives]:
        """The rungs of a report that lie inside the budget."""
        epochs = report["epochs"] if report["state"] == "running" else report["epochs"][:-1]
        return {
            int(epoch["epoch"]): (epoch["id_accuracy"], epoch["forgetting"])
            for epoch in epochs
            if is_rung(int(epoch["epoch"])) and self._study.inside(int(epoch["active_blocks"]))
        }

    def _judge_all(self, trials: Sequence[dict[str, Any]]) -> None:
        """Judges reports at their rungs, from the last one that was noted on.

        The first report after an interruption has all epochs again. The last rung that was noted is judged
        once more, for the driver may have ended before it told Optuna.
        """
        rungs = self._study.rungs()
        for report in trials:
            own = rungs[report["key"]]
            last = max(own, default=0)
            report["rungs"] = {epoch: worth for epoch, worth in report["rungs"].items() if epoch >= last}
            own.update(report["rungs"])
        for report in trials:
            _judge(report, [others for key, others in rungs.items() if key != report["key"]])


def _judge(report: dict[str, Any], others: Sequence[Mapping[int, Objectives]]) -> None:
    """Turns a report into that of a pruned trial at the first rung at which its trial is beaten."""
    for rung, own in report["rungs"].items():
        rivals = [other[rung] for other in others if rung in other]
        if beaten := beaten_by(own, rivals):
            _cut(report, rung)
            reason = f"dominated at epoch {rung} by {beaten} of {len(rivals)} trials"
            report |= {"state": "pruned", "reason": reason, "active": (), "closing_order": (), "curve": []}
            return


def _cut(report: dict[str, Any], last: int) -> None:
    """Takes away all that is of later epochs."""
    epochs = [epoch for epoch in report["epochs"] if epoch["epoch"] <= last]
    rungs = {epoch: objectives for epoch, objectives in report["rungs"].items() if epoch <= last}
    report |= {"epochs": epochs, "metrics": epochs[-1], "rungs": rungs}
