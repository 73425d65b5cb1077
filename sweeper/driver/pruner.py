"""Stops trials that others clearly beat, before they have trained to their end."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def is_rung(epoch: int, every: int = 1) -> bool:
    """Whether trials are judged after this epoch: the first, second, fourth, eighth ... with a validation."""
    return epoch % every == 0 and (epoch // every).bit_count() == 1


def judged(study: SweepStudy, reports: Sequence[Report]) -> list[Report]:
    """The reports of a pack; those of beaten trials as of pruned ones, which the study is still to be told.

    At a rung before its last epoch a trial that is inside the budget is held against all others that were
    inside it at the same rung: finished, running or pruned. Baselines and confirmations are never judged.
    The first report after an interruption has all epochs again. The last rung that was noted is judged once
    more, for the driver may have ended before it told Optuna.
    """
    if not study.space.search.prune:
        return list(reports)
    passed = {r["key"]: _passed(study, r) for r in reports if r["key"].startswith("trial-")}
    if not any(passed.values()):
        return list(reports)
    rungs = study.rungs()
    for key, new in passed.items():
        measured = rungs[key]
        last = max(measured, default=0)
        passed[key] = {epoch: objectives for epoch, objectives in new.items() if epoch >= last}
        measured.update(passed[key])
    return [
        _judged(report, passed[report["key"]], [o for key, o in rungs.items() if key != report["key"]])
        if report["key"] in passed
        else report
        for report in reports
    ]


def _passed(study: SweepStudy, report: Report) -> dict[int, Objectives]:
    """The rungs of a report that lie inside the budget."""
    every = study.space.training.validate_every
    epochs = report["epochs"] if report["state"] == "running" else report["epochs"][:-1]
    return {
        int(epoch["epoch"]): (epoch["id_accuracy"], epoch["forgetting"])
        for epoch in epochs
        if is_rung(int(epoch["epoch"]), every) and study.inside(int(epoch["active_blocks"]))
    }


def _judged(
    report: Report, passed: Mapping[int, Objectives], others: Sequence[Mapping[int, Objectives]]
) -> Report:
    """A report with its rungs; that of a pruned trial at the first rung at which its trial is beaten."""
    for rung, own in passed.items():
        rivals = [other[rung] for other in others if rung in other]
        if beaten := beaten_by(own, rivals):
            reason = f"dominated at epoch {rung} by {beaten} of {len(rivals)} trials"
            return {**_cut(report, passed, rung), "state": "pruned", "reason": reason}
    return {**report, "rungs": passed}


def _cut(report: Report, passed: Mapping[int, Objectives], last: int) -> Report:
    """A report without all that is of later epochs, or of the end."""
    epochs = [epoch for epoch in report["epochs"] if epoch["epoch"] <= last]
    rungs = {epoch: objectives for epoch, objectives in passed.items() if epoch <= last}
    end: dict[str, Any] = {"active": (), "closing_order": (), "curve": []}
    return {**report, "epochs": epochs, "metrics": epochs[-1], "rungs": rungs, **end}
