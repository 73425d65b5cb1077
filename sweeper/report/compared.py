"""Several sweeps on one plot, with their fronts in one table."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sweeper.report import points as on_plot
from sweeper.report import words
from sweeper.report.frame import front_frame
from sweeper.report.fronts import fronts, fronts_latex
from sweeper.report.hover import plain
from sweeper.report.page import render
from sweeper.report.picture import figure_png
from sweeper.report.plots import FORGETTING, add_rows, add_views, layout, make_room, step
from sweeper.report.points import Points
from sweeper.report.write import write_file
from sweeper.study.front import hypervolume, on_front
from sweeper.study.records import SweepRecord

_COLOURS = (on_plot.FRONT, *on_plot.BASELINE_COLOURS, on_plot.KNEE)
#: What figures of two sweeps have to share to be held against each other.
_SHARED = ("model.", "data.")


def compared_plot(records: Sequence[SweepRecord]) -> go.Figure | None:
    """The fronts of the sweeps, and each one's baselines at their best; None where nothing is measured."""
    figure = go.Figure(layout=layout(FORGETTING, "ID accuracy (%)", 560))
    symbols: dict[str, str] = {}
    on_fronts, baselines = [], []
    for place, record in enumerate(records):
        colour, shown = _COLOURS[place % len(_COLOURS)], on_plot.points(record)
        hovered: dict[str, Any] = {"hovertemplate": f"%{{customdata}}<extra>{plain(record.name, 40)}</extra>"}
        circle = {"symbol": "circle", "size": 10, "color": colour}
        add_rows(
            figure,
            record,
            record.name,
            shown.front,
            circle,
            mode="lines+markers",
            line=step(colour),
            **hovered,
        )
        for baseline in shown.baselines:
            symbol = symbols.setdefault(baseline.label, on_plot.symbol(len(symbols)))
            marker = {"symbol": symbol, "size": 10, "color": colour}
            name = f"{record.name}: {baseline.label}"
            add_rows(figure, record, name, [baseline.best], marker, **hovered)
            baselines.append(replace(baseline, label=name, runs=[baseline.best], colour=colour))
        on_fronts += shown.front
    if not figure.data:
        return None
    make_room(figure)
    add_views(figure, Points(on_fronts, [], [], [], [], baselines, [], [], None, None))
    return figure


def write_compared(records: Sequence[SweepRecord], folder: Path) -> Path:
    """Write ``index.html``, ``front.png``, ``front.csv`` and ``front.tex`` of several sweeps.

    Args:
        records: at least two.
        folder: made if it is not there.

    Returns:
        The path of ``index.html``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure, title = compared_plot(records), " and ".join(record.name for record in records)
    frames = [front_frame(record).assign(sweep=record.name) for record in records]
    write_file(folder / "front.csv", pd.concat(frames).set_index("sweep").to_csv().encode())
    write_file(folder / "front.tex", fronts_latex(records).encode())
    if figure is not None:
        write_file(folder / "front.png", figure_png(figure, title))
    columns, rows = fronts(records)
    text = render(
        "compared.html.jinja",
        name=title,
        facts=[(record.name, _fact(record)) for record in records],
        unlike=_unlike(records),
        figures={} if figure is None else {"front-plot": json.loads(figure.to_json())},
        columns=columns,
        rows=rows,
    )
    write_file(folder / "index.html", text.encode("utf-8", "backslashreplace"))
    return folder / "index.html"


def _fact(record: SweepRecord) -> str:
    area = words.figure(hypervolume(record, on_front(record)), 4)
    return f"{words.budget(record)}; {words.counts(record)}; hypervolume {area}"


def _unlike(records: Sequence[SweepRecord]) -> list[str]:
    """Which settings of the model and of the data differ between sweeps."""
    names = dict.fromkeys(name for record in records for name in record.space if name.startswith(_SHARED))
    one, *others = (record.space for record in records)
    return [name for name in names if any(other.get(name) != one.get(name) for other in others)]
