"""How many pictures an accuracy is counted on, how far it can be trusted, and which ones are ties."""

import math
from collections.abc import Collection, Mapping

from sweeper.report import words
from sweeper.report.groups import groups
from sweeper.study.front import on_front
from sweeper.study.records import SweepRecord

Pictures = Mapping[str, Mapping[str, int]]
"""How many each split of each data set has, as `Problem.sizes`."""

_SETS = {"id_accuracy": ("id", "val"), "test/id_accuracy": ("id", "test")}


def standard_error(accuracy: float, pictures: int) -> float:
    """Standard error of a share p of n pictures, both in percent: sqrt(p (100 - p) / n) (binomial)."""
    return math.sqrt(accuracy * (100.0 - accuracy) / pictures)


def error(record: SweepRecord, metrics: Mapping[str, float], metric: str) -> float | None:
    """Standard error of a top-1 accuracy in percentage points; None where it is not known.

    The OOD accuracy is the mean over k sets, so its error is sqrt(sum of squared errors) / k.

    Args:
        metric: ``id_accuracy``, ``test/id_accuracy`` or ``test/ood_accuracy``.
    """
    return error_of(record.pictures, words.means_per_class(record), metrics, metric)


def error_of(
    pictures: Pictures, per_class: Collection[str], metrics: Mapping[str, float], metric: str
) -> float | None:
    """As `error`, of what is in no sweep.

    Args:
        pictures: how many each split of each data set has.
        per_class: the accuracies that are means over the classes, which are no shares of the pictures.
    """
    shifted = [f"test/{name}" for name in _shifted(pictures)]
    parts = shifted if metric == "test/ood_accuracy" else [metric]
    known = [_error(pictures, per_class, metrics, part) for part in parts]
    found = [each for each in known if each is not None]
    return math.hypot(*found) / len(found) if found and len(found) == len(known) else None


def with_error(value: float | None, found: float | None) -> str:
    """A figure with its standard error, where that is known."""
    return words.figure(value) + ("" if found is None else f" ± {words.figure(found)}")


def accuracy(record: SweepRecord, metrics: Mapping[str, float], metric: str) -> str:
    """An accuracy with its standard error, where that is known: ``88.33 ± 2.93``."""
    return with_error(metrics.get(metric), error(record, metrics, metric))


def pictures(record: SweepRecord) -> str:
    """How many pictures the accuracies are counted on; empty where that is not known."""
    parts = [
        (name, [record.pictures.get(own, {}).get(split) for own, split in sets])
        for name, sets in (
            ("ID accuracy", [("id", "val")]),
            ("test accuracy", [("id", "test")]),
            ("OOD accuracy", [(name, "test") for name in _shifted(record.pictures)]),
        )
    ]
    counted = [f"{name} {' + '.join(map(str, counts))}" for name, counts in parts if counts and all(counts)]
    return f"pictures: {', '.join(counted)}; ± is one standard error" if counted else ""


def ties(record: SweepRecord) -> str:
    """Which of the front and of the baselines are as good as the best in ID accuracy; empty if none is."""
    best_runs = [group.best for group in groups(record.baselines) if group.best is not None]
    rows = [row for row in (*on_front(record), *best_runs) if "id_accuracy" in row.metrics]
    if not rows:
        return ""
    best, *others = sorted(rows, key=lambda row: -row.metrics["id_accuracy"])
    near = error(record, best.metrics, "id_accuracy")
    if near is None:
        return ""
    tied = [row.label for row in others if best.metrics["id_accuracy"] - row.metrics["id_accuracy"] <= near]
    return (
        f"within a standard error of the best ID accuracy ({best.label}): {', '.join(tied)}" if tied else ""
    )


def _shifted(pictures: Pictures) -> list[str]:
    return [name for name in pictures if name.startswith("ood/")]


def _error(
    pictures: Pictures, per_class: Collection[str], metrics: Mapping[str, float], metric: str
) -> float | None:
    name, split = _SETS.get(metric, (metric.removeprefix("test/"), "test"))
    if not name.startswith(("id", "ood/")):  # probes have scores that are no share of pictures
        return None
    count, value = pictures.get(name, {}).get(split), metrics.get(metric, math.nan)
    if not count or not math.isfinite(value) or metric.removeprefix("test/") in per_class:
        return None
    return standard_error(value, count)
