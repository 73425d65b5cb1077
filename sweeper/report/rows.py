"""The tables of the page: every run and the pre-trained model; baselines at their best; confirmed trials."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sweeper.report import counted, words
from sweeper.report.confidence import Interval
from sweeper.report.confirmed import Confirmed, confirmed
from sweeper.report.frame import parameter_names
from sweeper.report.groups import groups
from sweeper.report.notable import notable
from sweeper.study.front import on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord

Of = TypeVar("Of")


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the value it sorts by; empty sorts last either way."""

    text: str
    order: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    `kind` is ``trial``, ``stopped`` (early), ``front``, ``knee``, ``baseline`` or ``pre-trained``; in the
    other tables ``best`` or ``confirmed``.
    """

    kind: str
    cells: list[Cell]


@dataclass(frozen=True)
class Column(Generic[Of]):
    """A heading, whether it holds numbers, whether it comes from test splits, and how a cell is read."""

    name: str
    numeric: bool
    test: bool
    read: Callable[[Of], Cell]


Columns = list[Column[TrialRecord]]


def columns(record: SweepRecord) -> Columns:
    """The columns of the table, from left to right; a parameter is numeric where each of its values is."""
    front = frozenset(record.front)
    return [
        Column("trial", False, False, _label),
        *([_method()] if record.baselines else []),
        Column("state", False, False, lambda row: _text(words.state(row))),
        *_parameters(record, parameter_names(record, (*record.trials, *record.baselines))),
        *(_price(name, key) for name, key in words.closing(record).items()),
        *_objectives(record),
        *(_metric(name, f"probe/{name}") for name in probe_names(record)),
        *_tests(record),
        Column("feasible", False, False, lambda row: _yes(row.role == "trial" and row.feasible)),
        Column("front", False, False, lambda row: _yes(row.key in front)),
        Column("reason", False, False, lambda row: _text(words.cut(row.reason or "", 200))),
    ]


def rows(record: SweepRecord, shown: Columns) -> list[Row]:
    """The notable trials by number, the baselines, the pre-trained model where it has been measured."""
    front = {trial.key for trial in on_front(record)}
    chosen = recommended(record)
    lines = []
    for row in [*notable(record), *record.baselines]:
        knee = chosen is not None and row.key == chosen.key
        stopped = "stopped" if row.state == "pruned" else row.role
        kind = "knee" if knee else "front" if row.key in front else stopped
        lines.append(Row(kind, [column.read(row) for column in shown]))
    if record.reference:
        lines.append(Row("pre-trained", [column.read(pre_trained(record.reference)) for column in shown]))
    return lines


def best_columns(record: SweepRecord) -> Columns:
    """The columns of the table of baselines at their best: choosing on the left, test splits on the right."""
    return [
        Column("baseline", False, False, lambda row: _text(row.group)),
        _method(),
        Column("runs", True, False, lambda row: _runs(record, row)),
        *_parameters(record, parameter_names(record, record.baselines)),
        *_objectives(record),
        *_tests(record),
    ]


def best_rows(record: SweepRecord, shown: Columns) -> list[Row]:
    """One line a baseline, in order, each at the best of its runs; none where every baseline has one run."""
    written = groups(record.baselines)
    if all(len(group.runs) == 1 for group in written):
        return []
    best = [group.best for group in written if group.best is not None]
    return [Row("best", [column.read(row) for column in shown]) for row in best]


def confirmed_columns() -> list[Column[Confirmed]]:
    """The columns of the table of confirmed trials: means, with the half-widths of their intervals."""
    return [
        Column("trial", False, False, lambda one: _label(one.trial)),
        Column("seeds", True, False, lambda one: _share(len(one.finished), len(one.runs))),
        Column("inside budget", True, False, _inside),
        _mean("ID acc", "id_accuracy"),
        _mean("forgetting", "forgetting"),
        _mean("active", "active_blocks"),
        _mean("test acc", "test/id_accuracy"),
        _mean("OOD acc", "test/ood_accuracy"),
        _mean("test forgetting", "test/forgetting"),
    ]


def confirmed_rows(record: SweepRecord, shown: list[Column[Confirmed]]) -> list[Row]:
    """One line a confirmed trial, by number."""
    return [Row("confirmed", [column.read(one) for column in shown]) for one in confirmed(record)]


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


def _method() -> Column[TrialRecord]:
    return Column("method", False, False, lambda row: _text(row.method))


def _parameters(record: SweepRecord, names: list[str]) -> Columns:
    return [_parameter(record, *pair) for pair in zip(names, words.short(names), strict=True)]


def _objectives(record: SweepRecord) -> Columns:
    active: Column[TrialRecord] = Column("active", True, False, lambda row: _active(record, row))
    return [_accuracy(record, "ID acc", "id_accuracy"), _metric("forgetting", "forgetting"), active]


def _tests(record: SweepRecord) -> Columns:
    return [
        _accuracy(record, "test acc", "test/id_accuracy"),
        _accuracy(record, "OOD acc", "test/ood_accuracy"),
        _metric("test forgetting", "test/forgetting"),
    ]


def _parameter(record: SweepRecord, name: str, heading: str) -> Column[TrialRecord]:
    every = (*record.trials, *record.baselines)
    known = [row.parameters[name] for row in every if row.parameters.get(name) is not None]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    return Column(heading, numeric, False, lambda row: _setting(record, row.parameters.get(name), numeric))


def _metric(name: str, key: str) -> Column[TrialRecord]:
    return Column(name, True, key.startswith("test/"), lambda row: _figure(row.metrics.get(key)))


def _accuracy(record: SweepRecord, name: str, key: str) -> Column[TrialRecord]:
    """An accuracy with its standard error; it sorts by the accuracy."""

    def read(row: TrialRecord) -> Cell:
        return replace(_figure(row.metrics.get(key)), text=counted.accuracy(record, row.metrics, key))

    return Column(name, True, key.startswith("test/"), read)


def _price(name: str, key: str) -> Column[TrialRecord]:
    """Prices span decades, so they are told to so many digits, not decimals."""
    return Column(name, True, False, lambda row: _number(row.metrics.get(key), words.setting))


def _mean(name: str, key: str) -> Column[Confirmed]:
    return Column(name, True, key.startswith("test/"), lambda one: _interval(one.interval(key)))


def _label(row: TrialRecord) -> Cell:
    return Cell(row.label, row.label, numeric=row.label.isdecimal())


def _setting(record: SweepRecord, value: Any, numeric: bool) -> Cell:
    text = words.setting(value, record)
    order = "" if value is None else str(value) if numeric else text
    return Cell(text, order, numeric)


def _active(record: SweepRecord, row: TrialRecord) -> Cell:
    count = words.active_count(row)
    return Cell(words.active(record, row), "" if count is None else str(count), numeric=True)


def _runs(record: SweepRecord, row: TrialRecord) -> Cell:
    """Of how many runs the row is the best: ``3``, or ``2 of 3`` where one is not complete."""
    group = next(group for group in groups(record.baselines) if group.label == row.group)
    return _share(len(group.measured), len(group.runs))


def _inside(one: Confirmed) -> Cell:
    """Of the finished seeds, how many are inside the budget."""
    return _share(sum(run.feasible for run in one.finished), len(one.finished))


def _share(done: int, asked: int) -> Cell:
    return Cell(str(done) if done == asked else f"{done} of {asked}", str(done), numeric=True)


def _interval(found: Interval | None) -> Cell:
    return Cell(words.interval(found), "" if found is None else repr(found.mean), numeric=True)


def _figure(value: float | None) -> Cell:
    return _number(value, words.figure)


def _number(value: float | None, say: Callable[[float | None], str]) -> Cell:
    known = value is not None and math.isfinite(value)
    return Cell(say(value), repr(float(value)) if known and value is not None else "", numeric=True)


def _text(text: str) -> Cell:
    return Cell(text, text)


def _yes(holds: bool) -> Cell:
    return Cell("yes" if holds else "", "yes" if holds else "")
