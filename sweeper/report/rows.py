"""The tables of the page: every trial, baseline and the pre-trained model; each baseline at its best."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.front import on_front, recommended
from sweeper.records import SweepRecord, TrialRecord
from sweeper.report import words
from sweeper.report.frame import parameter_names
from sweeper.report.groups import groups


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the value it sorts by; empty sorts last either way."""

    text: str
    order: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    `kind` is ``trial``, ``front``, ``knee``, ``baseline`` or ``pre-trained``; ``best`` in the other table.
    """

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
    return [
        Column("trial", False, False, _label),
        *([_method()] if record.baselines else []),
        Column("state", False, False, lambda row: _text(row.state)),
        *_parameters(record, parameter_names(record)),
        *_objectives(record),
        *(_metric(name, f"probe/{name}") for name in probe_names(record)),
        *_tests(),
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


def best_columns(record: SweepRecord) -> list[Column]:
    """The columns of the table of baselines at their best: choosing on the left, test splits on the right."""
    varied = list(dict.fromkeys(name for row in record.baselines for name in row.parameters))
    return [
        Column("baseline", False, False, lambda row: _text(row.group)),
        _method(),
        Column("runs", True, False, lambda row: _runs(record, row)),
        *_parameters(record, varied),
        *_objectives(record),
        *_tests(),
    ]


def best_rows(record: SweepRecord, shown: list[Column]) -> list[Row]:
    """One line a baseline, in order, each at the best of its runs; none where every baseline has one run."""
    written = groups(record.baselines)
    if all(len(group.runs) == 1 for group in written):
        return []
    best = [group.best for group in written if group.best is not None]
    return [Row("best", [column.read(row) for column in shown]) for row in best]


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
    return TrialRecord(
        key="pre-trained",
        label="pre-trained",
        group="pre-trained",
        method=words.UNKNOWN,
        role="baseline",
        state="complete",
        parameters={},
        metrics=metrics,
        active=(),
        feasible=False,
        reason=None,
    )


def _method() -> Column:
    return Column("method", False, False, lambda row: _text(row.method))


def _parameters(record: SweepRecord, names: list[str]) -> list[Column]:
    return [_parameter(record, *pair) for pair in zip(names, words.short(names), strict=True)]


def _objectives(record: SweepRecord) -> list[Column]:
    active = Column("active", True, False, lambda row: _active(record, row))
    return [_metric("ID acc", "id_accuracy"), _metric("forgetting", "forgetting"), active]


def _tests() -> list[Column]:
    return [
        _metric("test acc", "test/id_accuracy"),
        _metric("OOD acc", "test/ood_accuracy"),
        _metric("test forgetting", "test/forgetting"),
    ]


def _parameter(record: SweepRecord, name: str, heading: str) -> Column:
    every = (*record.trials, *record.baselines)
    known = [row.parameters[name] for row in every if row.parameters.get(name) is not None]
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


def _runs(record: SweepRecord, row: TrialRecord) -> Cell:
    """Of how many runs the row is the best: ``3``, or ``2 of 3`` where one is not complete."""
    group = next(group for group in groups(record.baselines) if group.label == row.group)
    done, asked = len(group.measured), len(group.runs)
    return Cell(str(done) if done == asked else f"{done} of {asked}", str(done), numeric=True)


def _figure(value: float | None) -> Cell:
    known = value is not None and math.isfinite(value)
    return Cell(words.figure(value), repr(float(value)) if known and value is not None else "", numeric=True)


def _text(text: str) -> Cell:
    return Cell(text, text)


def _yes(holds: bool) -> Cell:
    return Cell("yes" if holds else "", "yes" if holds else "")
