"""The table of the page: every trial, every baseline and the pre-trained model."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.front import on_front, recommended
from sweeper.records import SweepRecord, TrialRecord
from sweeper.report import words
from sweeper.report.frame import parameter_names


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the value it sorts by; empty sorts last either way."""

    text: str
    order: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table; `kind` is ``trial``, ``front``, ``knee``, ``baseline`` or ``pre-trained``."""

    kind: str
    cells: list[Cell]


@dataclass(frozen=True)
class Column:
    """A heading, whether it holds numbers, whether it comes from test splits, and how a cell is read."""

    name: str
    numeric: bool
    test: bool
    read: Callable[[TrialRecord], Cell]


def columns(record: SweepRecord) -> list[Column]:
    """The columns of the table, from left to right; a parameter is numeric where each of its values is."""
    front = frozenset(record.front)
    searched = parameter_names(record)
    return [
        Column("trial", False, False, _label),
        Column("state", False, False, lambda row: _text(row.state)),
        *(_parameter(record, *pair) for pair in zip(searched, words.short(searched), strict=True)),
        _metric("ID acc", "id_accuracy"),
        _metric("forgetting", "forgetting"),
        Column("active", True, False, lambda row: _active(record, row)),
        *(_metric(name, f"probe/{name}") for name in probe_names(record)),
        _metric("test acc", "test/id_accuracy"),
        _metric("OOD acc", "test/ood_accuracy"),
        _metric("test forgetting", "test/forgetting"),
        Column("feasible", False, False, lambda row: _yes(row.role == "trial" and row.feasible)),
        Column("front", False, False, lambda row: _yes(row.key in front)),
        Column("reason", False, False, lambda row: _text(words.cut(row.reason or "", 200))),
    ]


def rows(record: SweepRecord, shown: list[Column]) -> list[Row]:
    """The trials by number, the baselines, the pre-trained model where it has been measured."""
    front = {trial.key for trial in on_front(record)}
    chosen = recommended(record)
    lines = []
    for row in [*record.trials, *record.baselines]:
        knee = chosen is not None and row.key == chosen.key
        kind = "knee" if knee else "front" if row.key in front else row.role
        lines.append(Row(kind, [column.read(row) for column in shown]))
    if record.reference:
        lines.append(Row("pre-trained", [column.read(pre_trained(record.reference)) for column in shown]))
    return lines


def probe_names(record: SweepRecord) -> list[str]:
    """Names of the probes that anything has been measured on."""
    measured = [row.metrics for row in (*record.trials, *record.baselines)] + [record.reference]
    named = {name for metrics in measured for name in metrics if name.startswith("probe/")}
    return sorted(name.removeprefix("probe/") for name in named)


def pre_trained(reference: Mapping[str, float]) -> TrialRecord:
    """The untouched model as a row: it forgets nothing, by definition."""
    metrics = {**reference, "forgetting": 0.0}
    if "test/retained_accuracy" in reference:
        metrics["test/forgetting"] = 0.0
    return TrialRecord("pre-trained", "pre-trained", "baseline", "complete", {}, metrics, (), False, None)


def _parameter(record: SweepRecord, name: str, heading: str) -> Column:
    known = [trial.parameters[name] for trial in record.trials if trial.parameters.get(name) is not None]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    return Column(heading, numeric, False, lambda row: _setting(row.parameters.get(name), numeric))


def _metric(name: str, key: str) -> Column:
    return Column(name, True, key.startswith("test/"), lambda row: _figure(row.metrics.get(key)))


def _label(row: TrialRecord) -> Cell:
    return Cell(row.label, row.label, numeric=row.label.isdecimal())


def _setting(value: Any, numeric: bool) -> Cell:
    order = "" if value is None else str(value) if numeric else words.setting(value)
    return Cell(words.setting(value), order, numeric)


def _active(record: SweepRecord, row: TrialRecord) -> Cell:
    count = words.active_count(row)
    return Cell(words.active(record, row), "" if count is None else str(count), numeric=True)


def _figure(value: float | None) -> Cell:
    known = value is not None and math.isfinite(value)
    return Cell(words.figure(value), repr(float(value)) if known and value is not None else "", numeric=True)


def _text(text: str) -> Cell:
    return Cell(text, text)


def _yes(holds: bool) -> Cell:
    return Cell("yes" if holds else "", "yes" if holds else "")
