"""The fronts of one sweep or of several as one table: on a page, and as LaTeX for a paper."""

from collections.abc import Sequence

import pandas as pd

from sweeper.report import words
from sweeper.report.groups import groups
from sweeper.report.rows import Cell, Column, Columns, Row, columns
from sweeper.study.front import on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord

#: What the table of all runs tells beside the figures.
_LEFT_OUT = ("method", "state", "feasible", "front", "reason")


def fronts(records: Sequence[SweepRecord]) -> tuple[Columns, list[Row]]:
    """Each sweep's front by falling ID accuracy, then each of its baselines at its best.

    Where there are several, the first column names the sweep; a parameter that a sweep has not stays empty.
    """
    of_each = [{c.name: c for c in columns(record) if c.name not in _LEFT_OUT} for record in records]
    shown = _merged(of_each)
    lines = []
    for record, there in zip(records, of_each, strict=True):
        for row, kind in _rows(record):
            cells = [there[c.name].read(row) if c.name in there else Cell("", "") for c in shown]
            lines.append(Row(kind, [Cell(record.name, record.name), *cells] if len(records) > 1 else cells))
    named: Column[TrialRecord] = Column("sweep", False, False, lambda row: Cell("", ""))
    return [*([named] if len(records) > 1 else []), *shown], lines


def fronts_latex(records: Sequence[SweepRecord]) -> str:
    """The table of `fronts` in LaTeX; needs the package booktabs.

    Accuracies in percent, forgetting in percentage points; those called test are of test splits.
    """
    shown, lines = fronts(records)
    cells = [[cell.text.encode("utf-8", "replace").decode() for cell in line.cells] for line in lines]
    frame = pd.DataFrame(cells, columns=[column.name for column in shown])
    styler = frame.style.format(escape="latex").format_index(escape="latex", axis="columns")
    kinds = "".join("r" if column.numeric else "l" for column in shown)
    table = styler.hide(axis="index").to_latex(hrules=True, column_format=kinds)
    about = "; ".join(f"{record.name}: {words.budget(record)}" for record in records)
    return f"% {' '.join(about.split())}\n% \\usepackage{{booktabs}}\n{table}"


def _rows(record: SweepRecord) -> list[tuple[TrialRecord, str]]:
    chosen = recommended(record)
    best = [group.best for group in groups(record.baselines) if group.best is not None]
    front = [(trial, "knee" if trial is chosen else "front") for trial in on_front(record)]
    return [*front, *((row, "baseline") for row in best)]


def _merged(own: Sequence[dict[str, Column[TrialRecord]]]) -> Columns:
    """The columns of all sweeps, each once; one that is new stands behind the one before it in its sweep."""
    names: list[str] = []
    for there in own:
        place = 0
        for name in there:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return [next(there[name] for there in own if name in there) for name in names]
