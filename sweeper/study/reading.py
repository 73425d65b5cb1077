"""Optuna's trials as records, and the space that a recorded run was trained in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search_spaces import BaselineRun, Space
from sweeper.search.masks import folded
from sweeper.study.front import worth
from sweeper.study.records import State, SweepRecord, TrialRecord

Objectives = tuple[float, float]
"""ID accuracy in percent, forgetting in percentage points."""

LABEL = "baseline"
"""Optuna's name for the parameter that says which baseline a run is."""

TAKEN_OVER = "taken_over"
"""The attribute of a run that was not trained here: where its checkpoint was, as `SweepFolder.trial`."""

_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def trial_record(trial: FrozenTrial, space: Space, budget: int) -> TrialRecord:
    """A trial of the search. Its parameters are all that its space has beyond the sweep's."""
    values = folded(trial.params)
    # In the order of the file, which a sampler may not keep to.
    parameters = {path: values[path] for path in space.search.parameters if path in values} | values
    if space.budget.mode == "mask" and "method.mask" not in parameters:
        parameters["method.active_blocks"] = budget
    record = TrialRecord(
        key=trial_key(trial.number),
        label=str(trial.number),
        group=str(trial.number),
        method=parameters.get("method.name", space.method.name),
        role="trial",
        parameters=parameters,
        **_outcome(trial),
    )
    return with_points(record, trial.user_attrs.get("points", ()), space, budget)


def with_points(
    record: TrialRecord, points: Sequence[Mapping[str, Any]], space: Space, budget: int
) -> TrialRecord:
    """A run with the points that it has left, as `trainables.engine.points.Point.saved` has them."""
    return replace(record, points=tuple(_point(record, point, space, budget) for point in points))


def _point(record: TrialRecord, point: Mapping[str, Any], space: Space, budget: int) -> TrialRecord:
    name, blocks, scaling = point["name"], int(point["blocks"]), point["scaling"]
    inside = space.feasible(point["metrics"], budget)
    of_path = name.startswith("blocks-")
    where = f" at {blocks} block{'' if blocks == 1 else 's'}" if of_path else ""
    return replace(
        record,
        key=f"{record.key}-{name}",
        label=f"{record.label}{where}" + (f", {scaling[0]} {scaling[1]:g}" if scaling else ""),
        metrics=point["metrics"],
        active=tuple(point["active"]),
        closing_order=tuple(name for name in record.closing_order if name not in point["active"]),
        feasible=inside and record.state == "complete",
        curve=(),
        point=name,
        scaling=tuple(scaling) if scaling else None,
    )


def at_its_best(report: Mapping[str, Any], space: Space, budget: int) -> Mapping[str, Any]:
    """A report; that of a complete path with the metrics of its best trained point that is feasible."""
    if report["state"] != "complete":
        return report
    trained = [point for point in report.get("points", ()) if not point["scaling"]]
    inside = [point for point in trained if space.feasible(point["metrics"], budget)]
    best = max(inside, key=lambda point: worth(point["metrics"]), default=None)
    return {**report, "metrics": best["metrics"], "active": best["active"]} if best else report


def trial_key(number: int) -> str:
    """The key of a trial of the search."""
    return f"trial-{number:04d}"


def baseline_record(trial: FrozenTrial, runs: Mapping[str, BaselineRun]) -> TrialRecord:
    """A run of a baseline, one of those that are given by their labels."""
    run = runs[trial.params.get(LABEL) or trial.system_attrs["fixed_params"][LABEL]]
    return TrialRecord(
        key=f"baseline-{run.label}",
        label=run.label,
        group=run.group,
        method=run.method,
        role="baseline",
        parameters=run.varied,
        **_outcome(trial),
    )


def confirmation_record(
    trial: FrozenTrial, trials: Sequence[TrialRecord], space: Space, budget: int
) -> TrialRecord:
    """A confirmation of one of the trials; its attributes name which, and the seed."""
    number, seed = trial.user_attrs["trial"], trial.user_attrs["seed"]
    record = TrialRecord(
        key=f"confirmation-{number:04d}-seed-{seed}",
        label=f"{number}, seed {seed}",
        group=str(number),
        method=trials[number].method,
        role="confirmation",
        parameters={"training.seed": seed},
        **_outcome(trial),
    )
    return with_points(record, trial.user_attrs.get("points", ()), space, budget)


def space_of(space: Space, record: SweepRecord, run: TrialRecord) -> Space:
    """The resolved space of a run of the sweep, whose own space is given."""
    if run.role == "baseline":
        return space.for_baseline(run.label)
    if run.role == "trial":
        return space.with_values(run.parameters)
    trial = next(trial for trial in record.trials if trial.label == run.group)
    return space.with_values({**trial.parameters, **run.parameters})


def rungs_of(trial: FrozenTrial) -> dict[int, Objectives]:
    """A trial's objectives after each epoch at which it was judged."""
    kept = trial.user_attrs.get("rungs", {})
    return {int(epoch): (accuracy, forgetting) for epoch, (accuracy, forgetting) in kept.items()}


def written(rungs: Mapping[int, Objectives]) -> dict[str, list[float]]:
    """Rungs as `rungs_of` reads them from a storage, whose keys are words."""
    return {str(epoch): list(objectives) for epoch, objectives in rungs.items()}


def _outcome(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial has reported so far, as a `TrialRecord` keeps it."""
    complete = trial.state == TrialState.COMPLETE
    return {
        "state": _STATES[trial.state],
        "metrics": trial.user_attrs.get("metrics", {}),
        "active": tuple(trial.user_attrs.get("active", ())),
        "feasible": complete and all(value <= 0 for value in trial.constraints.values()),
        "reason": trial.user_attrs.get("reason"),
        "curve": tuple(trial.user_attrs.get("curve", ())),
        "closing_order": tuple(trial.user_attrs.get("closing_order", ())),
        "taken_over": trial.user_attrs.get(TAKEN_OVER),
        "began": _milliseconds(trial.datetime_start),
        "ended": _milliseconds(trial.datetime_complete),
    }


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
