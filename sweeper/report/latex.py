"""The front as a table of LaTeX, for a paper."""

from collections.abc import Sequence

import pandas as pd

from sweeper.report import words
from sweeper.report.groups import groups
from sweeper.report.rows import columns
from sweeper.study.front import on_front
from sweeper.study.records import SweepRecord

#: What the page's table tells beside the figures.
_LEFT_OUT = ("method", "state", "feasible", "front", "reason")


def front_latex(records: Sequence[SweepRecord]) -> str:
    """The front by falling ID accuracy and each baseline at its best, of one sweep or of several.

    Accuracies in percent, forgetting in percentage points; those called test are of test splits. Needs the
    package booktabs.
    """
    frame = pd.concat([_frame(record) for record in records]).fillna("")
    if len(records) == 1:
        frame = frame.drop(columns="sweep")
    kinds = "".join("l" if name in ("sweep", "trial") else "r" for name in frame.columns)
    styler = frame.style.format(escape="latex").format_index(escape="latex", axis="columns")
    table = styler.hide(axis="index").to_latex(hrules=True, column_format=kinds)
    about = "; ".join(f"{record.name}: {words.budget(record)}" for record in records)
    return f"% {' '.join(about.split())}\n% \\usepackage{{booktabs}}\n{table}"


def _frame(record: SweepRecord) -> pd.DataFrame:
    """The cells as text."""
    rows = on_front(record) + [group.best for group in groups(record.baselines) if group.best is not None]
    shown = [column for column in columns(record) if column.name not in _LEFT_OUT]
    cells = {column.name: [column.read(row).text for row in rows] for column in shown}
    safe = {
        name: [text.encode("utf-8", "replace").decode() for text in texts] for name, texts in cells.items()
    }
    return pd.DataFrame({"sweep": [record.name] * len(rows), **safe}).reset_index(drop=True)
