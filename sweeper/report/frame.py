"""A sweep as data frames: one row a run, one a confirmed trial, one a point of a curve."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from sweeper.report import words
from sweeper.report.confirmed import confirmed
from sweeper.study.records import SweepRecord, TrialRecord

#: What is told of a confirmed trial: the objectives and the count on validation, then test splits.
MEASURED = (
    "id_accuracy",
    "forgetting",
    "active_blocks",
    "test/id_accuracy",
    "test/ood_accuracy",
    "test/forgetting",
)
_FIRST_METRICS = ("id_accuracy", "forgetting", "retained_accuracy", "active_blocks", "active_fraction")


def trials_frame(record: SweepRecord) -> pd.DataFrame:
    """One row a trial, by number, then one a baseline, then one a confirmation; of a path, one a point.

    Columns: ``key``, ``label``, ``role``, ``method``, ``state``, ``feasible``, ``front``; the parameters
    under their dotted names; the metrics as `TrialRecord.metrics` names them (accuracies in percent,
    forgetting in percentage points); ``active``, the open blocks joined by commas; ``reason``;
    ``taken_over``, where the checkpoint of a run was that another sweep has trained. What is unknown is
    missing.
    A parameter whose values are of several kinds becomes text, so that every column has one type; so does a
    mask: its blocks, joined by commas.
    """
    confirmations = [model for run in record.confirmations for model in run.models]
    rows = [*record.models, *record.baselines, *confirmations]
    front = set(record.front)
    columns: dict[str, pd.Series[Any]] = {
        "key": _text(row.key for row in rows),
        "label": _text(row.label for row in rows),
        "role": _text(row.role for row in rows),
        "method": _text(row.method for row in rows),
        "state": _text(row.state for row in rows),
        "feasible": pd.Series([row.feasible for row in rows], dtype="bool"),
        "front": pd.Series([row.key in front for row in rows], dtype="bool"),
    }
    for name in parameter_names(record, rows):
        columns[name] = _column([row.parameters.get(name) for row in rows])
    for name in metric_names(rows):
        columns[name] = pd.Series([row.metrics.get(name) for row in rows], dtype="float64")
    columns["active"] = _text(",".join(row.active) for row in rows)
    columns["reason"] = _text(row.reason for row in rows)
    columns["taken_over"] = _text(row.taken_over for row in rows)
    return pd.DataFrame(columns)


def front_frame(record: SweepRecord) -> pd.DataFrame:
    """The rows of `trials_frame` that are on the front, by falling ID accuracy."""
    rows = trials_frame(record).set_index("key", drop=False).loc[list(record.front)]
    return rows.reset_index(drop=True)


def curves_frame(record: SweepRecord) -> pd.DataFrame:
    """One row a point of a WiSE-FT curve: ``key``, ``label``, ``a`` (0 to 1), and the metrics at that point.

    Trials by number, then baselines, each by rising ``a``; no rows where no curve was measured.
    """
    points = [
        (row, point)
        for row in (*record.trials, *record.baselines)
        for point in sorted(row.curve, key=lambda point: point["a"])
    ]
    names = _in_order({name for _, point in points for name in point if name != "a"})
    columns = {"key": _text(row.key for row, _ in points), "label": _text(row.label for row, _ in points)}
    for name in ("a", *names):
        columns[name] = pd.Series([point.get(name) for _, point in points], dtype="float64")
    return pd.DataFrame(columns)


def confirmed_frame(record: SweepRecord) -> pd.DataFrame:
    """One row a confirmed trial, by number: its figures over the seeds that have finished.

    Columns: ``key`` and ``label`` of the trial; ``seeds`` (finished), ``asked``, ``failed``, ``feasible``
    (seeds inside the budget); for each of `MEASURED` its mean, under its own name, and
    ``<name>_half_width``, half the width of the mean's 95 % confidence interval, missing with one seed.
    """
    found = confirmed(record)
    columns: dict[str, pd.Series[Any]] = {
        "key": _text(one.trial.key for one in found),
        "label": _text(one.trial.label for one in found),
        "seeds": _column([len(one.finished) for one in found]),
        "asked": _column([len(one.runs) for one in found]),
        "failed": _column([len(one.failed) for one in found]),
        "feasible": _column([sum(run.feasible for run in one.finished) for one in found]),
    }
    for name in MEASURED:
        intervals = [one.interval(name) for one in found]
        means = [None if known is None else known.mean for known in intervals]
        widths = [None if known is None else known.half_width for known in intervals]
        columns[name] = pd.Series(means, dtype="float64")
        columns[f"{name}_half_width"] = pd.Series(widths, dtype="float64")
    return pd.DataFrame(columns)


def parameter_names(record: SweepRecord, rows: Iterable[TrialRecord]) -> list[str]:
    """Dotted names of the parameters that the rows have: what is searched, in its order, then others."""
    found = dict.fromkeys(name for row in rows for name in row.parameters)
    return [
        *(name for name in record.domains if name in found),
        *(n for n in found if n not in record.domains),
    ]


def metric_names(rows: Iterable[TrialRecord]) -> list[str]:
    """Names of all metrics: the objectives and counts first, then the rest by name, ``test/`` last."""
    return _in_order({name for row in rows for name in row.metrics})


def _in_order(names: set[str]) -> list[str]:
    first = [name for name in _FIRST_METRICS if name in names]
    return first + sorted(names.difference(first), key=lambda name: (name.startswith("test/"), name))


def _column(values: Sequence[Any]) -> "pd.Series[Any]":
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pd.Series(values, dtype="boolean")
    if known and all(isinstance(value, int) and not isinstance(value, bool) for value in known):
        return pd.Series(values, dtype="Int64")
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return pd.Series(values, dtype="float64")
    return _text(
        v
        if v is None or isinstance(v, str)
        else ", ".join(v)
        if words.are_names(v)
        else json.dumps(v, default=str)
        for v in values
    )


def _text(values: Iterable[str | None]) -> "pd.Series[Any]":
    """A column of text; what UTF-8 cannot hold (lone surrogates) is written as an escape."""
    safe = [v if v is None else v.encode("utf-8", "backslashreplace").decode("utf-8") for v in values]
    return pd.Series(safe, dtype="string")
