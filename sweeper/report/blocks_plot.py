"""What does one more block buy: ID accuracy and forgetting over the number of active blocks."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from sweeper.report import hover
from sweeper.report import points as on_plot
from sweeper.report.confirmed import confirmed
from sweeper.report.plots import layout
from sweeper.report.words import per_class
from sweeper.study.blocks import by_blocks, enough_blocks
from sweeper.study.front import has_objectives
from sweeper.study.records import SweepRecord, TrialRecord

_METRICS = ("id_accuracy", "forgetting")
_FEWEST = 3
_NONE = 0.5  # where no blocks stand, for which a log scale has no place
_ROOM = 1.2  # times the number at a tick is that at the next one, at least


def blocks_plot(record: SweepRecord) -> go.Figure | None:
    """Two plots, one above the other, validation splits; None while there are fewer than three numbers.

    A line joins the best model of the search at each number; the others are small. Baselines stand where
    their methods' blocks are. Error bars are 95 % confidence intervals of confirmed models.
    """
    best = by_blocks(record)
    if len(best) < _FEWEST:
        return None
    figure = go.Figure(layout=_two_plots(record))
    chosen = {model.key for model in best.values()}
    others = [m for m in record.models if m.state == "complete" and has_objectives(m) and m.key not in chosen]
    small = {"size": 5, "color": on_plot.FEASIBLE, "opacity": 0.6}
    _add(figure, record, "other models", others, "markers", small)
    strong = {"size": 9, "color": on_plot.FRONT}
    _add(figure, record, "search, best", list(best.values()), "lines+markers", strong)
    for baseline in on_plot.points(record).baselines:
        marker = {"size": 9, "color": baseline.colour, "symbol": baseline.symbol}
        _add(figure, record, baseline.label, [baseline.best], "markers", marker)
    _add_means(figure, record)
    if (enough := enough_blocks(record)) is not None:
        line = {"color": on_plot.KNEE, "width": 1.5, "dash": "dot"}
        figure.add_shape(type="line", x0=enough, x1=enough, yref="paper", y0=0, y1=1, line=line)
    return figure


def _two_plots(record: SweepRecord) -> dict[str, Any]:
    accuracy = f"ID accuracy (%{per_class(record, 'id_accuracy')})"
    both = layout("active blocks", accuracy, 560)
    ticks = _apart(sorted({*by_blocks(record), len(record.blocks)}))
    at = [tick or _NONE for tick in ticks]
    both["xaxis"] |= {
        "type": "log",
        "tickvals": at,
        "ticktext": [str(tick) for tick in ticks],
        "anchor": "y2",
    }
    both["yaxis2"] = {**both["yaxis"], "title": {"text": "forgetting (pp)"}, "domain": [0.0, 0.44]}
    both["yaxis"] |= {"domain": [0.52, 1.0]}
    return both


def _apart(ticks: Sequence[int]) -> list[int]:
    """The largest tick, and below it those that leave the next one room on a log scale."""
    chosen: list[int] = []
    for tick in reversed(ticks):
        if not chosen or (tick or _NONE) <= chosen[-1] / _ROOM:
            chosen.append(tick)
    return chosen[::-1]


def _add(
    figure: go.Figure,
    record: SweepRecord,
    name: str,
    rows: Sequence[TrialRecord],
    mode: str,
    marker: dict[str, Any],
) -> None:
    """Rows on both plots, by rising number of blocks."""
    rows = sorted((r for r in rows if "active_blocks" in r.metrics), key=lambda r: r.metrics["active_blocks"])
    for axis, metric in zip(("y", "y2"), _METRICS, strict=True):
        figure.add_scatter(
            x=[row.metrics["active_blocks"] or _NONE for row in rows],
            y=[row.metrics[metric] for row in rows],
            yaxis=axis,
            customdata=[hover.of_run(record, row) for row in rows],
            hovertemplate="%{customdata}<extra></extra>",
            mode=mode,
            marker=marker,
            line={"color": marker["color"], "width": 1.5},
            name=hover.plain(name, 20),
            legendgroup=name,
            showlegend=axis == "y" and bool(rows),
        )


def _add_means(figure: go.Figure, record: SweepRecord) -> None:
    found = [one for one in confirmed(record) if one.interval("id_accuracy") is not None]
    for axis, metric in zip(("y", "y2"), _METRICS, strict=True):
        means = [one.interval(metric) for one in found]
        figure.add_scatter(
            x=[one.trial.metrics["active_blocks"] or _NONE for one in found],
            y=[mean.mean for mean in means if mean],
            error_y={"type": "data", "array": [mean.half_width or 0.0 for mean in means if mean]},
            yaxis=axis,
            mode="markers",
            marker={"size": 10, "color": "white", "line": {"color": on_plot.FRONT, "width": 2}},
            hovertemplate="mean of the seeds %{y:.2f}<extra></extra>",
            name="mean, 95 % CI",
            legendgroup="means",
            showlegend=axis == "y" and bool(found),
        )
