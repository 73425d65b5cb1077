"""What MLflow's runs of a sweep are to hold, as its study has it: nothing here asks MLflow."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from search_spaces import Space
from sweeper.study.front import REFERENCE_POINT, hypervolume, on_front, recommended
from sweeper.study.reading import space_of
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.tracking.runs import SWEEP, Known, Wanted

Epochs = Sequence[Mapping[str, float]]
"""The metrics of a run's epochs, in order; each with its ``epoch`` and, since the beginning, ``seconds``."""

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}


def run_of_sweep(
    record: SweepRecord, space: Space, origin: Mapping[str, str], status: str, began: int, now: int
) -> Wanted:
    """The parent run; its figures are those after so many ended runs as their step says."""
    best = recommended(record)
    accuracy, retained = REFERENCE_POINT
    tags = {
        **_names(SWEEP, record.name, space),
        **origin,
        "objectives": ", ".join(f"{name}: {way}" for name, way in space.search.objectives.dump().items()),
        "hypervolume_reference": f"id_accuracy {accuracy:g}, retained_accuracy {retained:g}",
        "knee": best.key if best else "",
    }
    figures: dict[str, float] = {
        "trials_complete": sum(trial.state == "complete" for trial in record.trials),
        "trials_feasible": sum(trial.feasible for trial in record.trials),
        "trials_pruned": sum(trial.state == "pruned" for trial in record.trials),
        "front_size": len(record.front),
        "hypervolume": hypervolume(record, on_front(record)),
    }
    if best:
        figures |= {f"knee/{name}": value for name, value in best.metrics.items()}
    ends = [run.ended for run in record.runs if run.ended is not None]
    at = max(ends, default=began)
    return Wanted(began, tags, space.flat, (), _metrics(figures, len(ends), at), status, now)


def view(space: Space) -> tuple[list[str], str]:
    """The columns in which a person compares runs, as MLflow's UI names them, and the one to sort by."""
    best = "metrics.`id_accuracy`"
    searched = [f"params.`{path}`" for path in space.search.parameters]
    measured = [best, "metrics.`forgetting`", "metrics.`active_blocks`"]
    return ["tags.`role`", *measured, *searched, "tags.`front`", "tags.`state`"], best


def run_of_trial(
    trial: TrialRecord, record: SweepRecord, space: Space, parent: str, epochs: Epochs, known: Known | None
) -> Wanted:
    """The run of a trial, baseline or confirmation that has begun."""
    began = trial.began or 0
    tags = {**_names(trial.key, trial.key, space), MLFLOW_PARENT_RUN_ID: parent, "method": trial.method}
    if trial.taken_over:
        tags["taken_over"] = trial.taken_over
    logged = [m for e in epochs for m in _metrics(e, int(e["epoch"]), began + _milliseconds(e))]

    def params() -> Mapping[str, object]:
        return space_of(space, record, trial).flat()

    if trial.state not in STATUS:
        return Wanted(began, tags, params, logged)
    tags |= {"state": trial.state, "feasible": str(trial.feasible).lower(), "reason": trial.reason or ""}
    tags["active"] = ",".join(trial.active)
    if trial.feasible:
        tags["front"] = str(any(model.key in record.front for model in trial.models)).lower()
    ended = trial.ended or began
    last = max([known.epoch if known else 0, *(metric.step for metric in logged)])
    measured = {n: v for n, v in trial.metrics.items() if n.startswith("test/") or not last}
    final = [*_metrics(measured, last, ended), *_curve(trial, ended), *_points(trial, ended)]
    if trial.points:
        tags["front_points"] = ",".join(p.point or "" for p in trial.points if p.key in record.front)
    return Wanted(began, tags, params, logged, final, STATUS[trial.state], ended)


def until_end(trial: TrialRecord, epochs: Iterable[Mapping[str, float]]) -> Epochs:
    """Those before the trial's end: a pruned one may have trained on with its pack."""
    last = trial.metrics.get("epoch", 0)
    return list(takewhile(lambda epoch: epoch["epoch"] <= last, epochs))


def _names(key: str, name: str, space: Space) -> dict[str, str]:
    """By which a run is found."""
    return {"key": key, MLFLOW_RUN_NAME: name, "sweep": space.sweep, "role": key.split("-")[0]}


def _milliseconds(epoch: Mapping[str, float]) -> int:
    return round(1000 * epoch.get("seconds", 0.0))


def _metrics(values: Mapping[str, float], step: int, at: int) -> list[Metric]:
    return [Metric(name, float(value), at, step) for name, value in values.items()]


def _points(trial: TrialRecord, at: int) -> list[Metric]:
    """The points of a path as ``point/<metric>``, and of a scaling as ``point/<scaling>/<metric>``.

    The step is the number of open blocks.
    """
    return [
        metric
        for point in trial.points
        for metric in _metrics(
            {f"{_kind(point)}/{name}": value for name, value in point.metrics.items()},
            int(point.metrics["active_blocks"]),
            at,
        )
    ]


def _kind(point: TrialRecord) -> str:
    return "point/{}-{:g}".format(*point.scaling) if point.scaling else "point"


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
