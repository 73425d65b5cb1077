"""The interactive plots of the page, as plotly figures."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from sweeper.report import hover, words
from sweeper.report import points as on_plot
from sweeper.report.labels import Name, names
from sweeper.report.notable import MOST, notable
from sweeper.report.view import View, everything, near_front
from sweeper.study.front import hypervolume_history
from sweeper.study.records import SweepRecord, TrialRecord

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FORGETTING = "forgetting (percentage points)"
_AXIS = {
    "gridcolor": "#e8eaed",
    "zerolinecolor": "#c4c8ce",
    "linecolor": "#c4c8ce",
    "ticks": "outside",
    "tickcolor": "#c4c8ce",
    "automargin": True,
}


def front_plot(record: SweepRecord) -> go.Figure:
    """ID accuracy (percent) against forgetting (percentage points), validation; hover names a point."""
    shown = on_plot.points(record)
    figure = go.Figure(
        layout=layout(FORGETTING, f"ID accuracy (%{words.per_class(record, 'id_accuracy')})", 560)
    )
    grey = {"symbol": "x-thin", "size": 7, "line": {"color": on_plot.OUTSIDE, "width": 1.5}}
    small = {"symbol": "line-ew", "size": 7, "line": {"color": on_plot.OUTSIDE, "width": 1.5}}
    plain = {"symbol": "circle", "size": 8, "color": on_plot.FEASIBLE}
    strong = {"symbol": "circle", "size": 10, "color": on_plot.FRONT}
    _add_curves(figure, record, "WiSE-FT, others", shown.other_curves, visible="legendonly", legendrank=2001)
    _add_curves(figure, record, "WiSE-FT curve", shown.curves, legendrank=2000)
    add_rows(figure, record, "stopped early", shown.stopped, small, opacity=on_plot.FAINT)
    add_rows(figure, record, "outside budget", shown.outside, grey)
    add_rows(figure, record, "inside budget", shown.feasible, plain)
    front = "front, single runs" if shown.means else "front"
    add_rows(figure, record, front, shown.front, strong, mode="lines+markers", line=step(on_plot.FRONT))
    if shown.knee is not None:
        ring = {"symbol": "circle-open", "size": 20, "color": on_plot.KNEE, "line": {"width": 2.5}}
        add_rows(figure, record, f"knee: trial {shown.knee.label}", [shown.knee], ring, hoverinfo="skip")
    _add_means(figure, shown.means)
    if shown.pre_trained is not None:
        _add_pre_trained(figure, shown.pre_trained)
    for baseline in shown.baselines:
        _add_baseline(figure, record, baseline)
    make_room(figure)
    add_views(figure, shown)
    return figure


def hypervolume_plot(record: SweepRecord) -> go.Figure:
    """Hypervolume of the feasible trials so far, over the number of the trial; of many, where it rises."""
    figure = go.Figure(layout=layout("trial", "hypervolume", 320))
    history = hypervolume_history(record)
    if len(history) > MOST:
        history = [pair for before, pair in pairwise([(0, -1.0), *history]) if pair[1] > before[1]]
    numbers, areas = [pair[0] for pair in history], [pair[1] for pair in history]
    last = max((int(t.group) for t in record.trials if t.state == "complete"), default=0)
    if history and last > numbers[-1]:
        numbers, areas = [*numbers, last], [*areas, areas[-1]]
    figure.add_scatter(
        x=numbers,
        y=areas,
        mode="lines+markers",
        line=step(on_plot.FRONT),
        marker={"size": 5, "color": on_plot.FRONT},
        hovertemplate="after trial %{x}: %{y:.4f}<extra></extra>",
        showlegend=False,
    )
    return figure


def layout(x: str, y: str, height: int) -> dict[str, Any]:
    """What all plots have in common; a height in pixels."""
    return {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "font": {"family": FONT, "size": 13, "color": "#1f2328"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hoverlabel": {"align": "left", "bgcolor": "white", "bordercolor": "#c4c8ce", "font": {"size": 12}},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "yanchor": "bottom",
            "y": 0,
            "x": 0,
            "entrywidth": 112,
            "tracegroupgap": 0,
            "font": {"size": 12},
        },
        "xaxis": {**_AXIS, "title": {"text": x}},
        "yaxis": {**_AXIS, "title": {"text": y}},
    }


def step(colour: str) -> dict[str, Any]:
    """At a forgetting between two front trials, the better known one is that which forgets less."""
    return {"shape": "hv", "color": colour, "width": 1.5}


def add_rows(
    figure: go.Figure,
    record: SweepRecord,
    name: str,
    rows: Sequence[TrialRecord],
    marker: dict[str, Any],
    **more: Any,
) -> None:
    """One group of rows, drawn from left to right; no trace for an empty one."""
    if not rows:
        return
    rows = sorted(rows, key=on_plot.place)
    whole = {run.key for run in (*notable(record), *record.baselines)}
    trace = {
        "x": [on_plot.place(row)[0] for row in rows],
        "y": [on_plot.place(row)[1] for row in rows],
        "customdata": [hover.of_run(record, row, whole=row.key in whole) for row in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
        "mode": "markers",
        "name": hover.plain(name, 20),
        "marker": marker,
    }
    figure.add_scatter(**{**trace, **more})


def _add_pre_trained(figure: go.Figure, accuracy: float) -> None:
    figure.add_scatter(
        x=[0.0],
        y=[accuracy],
        mode="markers",
        name="pre-trained",
        marker={"symbol": "star", "size": 20, "color": on_plot.PRE_TRAINED},
        hovertemplate="pre-trained, untouched<br>ID accuracy %{y:.2f} %<extra></extra>",
    )


def _add_means(figure: go.Figure, means: Sequence[on_plot.Mean]) -> None:
    """White dots with error bars, each joined to its trial's single run by a thin line."""
    if not means:
        return
    group: dict[str, Any] = {"legendgroup": "means", "name": "mean, 95 % CI"}
    figure.add_scatter(
        x=[x for mean in means for x in (mean.single[0], mean.x.mean, None)],
        y=[y for mean in means for y in (mean.single[1], mean.y.mean, None)],
        mode="lines",
        line={"color": _faint(on_plot.FRONT), "width": 1.2, "dash": "dash"},
        hoverinfo="skip",
        showlegend=False,
        **group,
    )
    figure.add_scatter(
        x=[mean.x.mean for mean in means],
        y=[mean.y.mean for mean in means],
        error_x=_bars([mean.x.half_width for mean in means]),
        error_y=_bars([mean.y.half_width for mean in means]),
        customdata=[hover.of_mean(mean) for mean in means],
        hovertemplate="%{customdata}<extra></extra>",
        mode="markers",
        marker={"size": 10, "color": "white", "line": {"color": on_plot.FRONT, "width": 2}},
        **group,
    )


def _bars(widths: Sequence[float | None]) -> dict[str, Any]:
    """Error bars; none where a single seed leaves the width unknown."""
    lengths = [width or 0.0 for width in widths]
    return {"type": "data", "array": lengths, "color": on_plot.FRONT, "thickness": 1.5, "width": 4}


def _add_baseline(figure: go.Figure, record: SweepRecord, baseline: on_plot.Baseline) -> None:
    """Its runs, joined by a thin line where there are several, the best one large."""
    sizes = [10 if run is baseline.best else 7 for run in baseline.runs]
    marker = {"symbol": baseline.symbol, "size": sizes, "color": baseline.colour, "opacity": 1.0}
    joined = {"mode": "lines+markers", "line": {"color": _faint(baseline.colour), "width": 1.2}}
    several = len(baseline.runs) > 1
    add_rows(figure, record, baseline.label, baseline.runs, marker, **(joined if several else {}))


def _add_curves(
    figure: go.Figure, record: SweepRecord, name: str, curves: Sequence[on_plot.Curve], **more: Any
) -> None:
    """Dotted lines, which one entry of the legend shows and hides together."""
    for curve in curves:
        spots = [on_plot.spot(point) for point in curve.points]
        figure.add_scatter(
            x=[x for x, _ in spots],
            y=[y for _, y in spots],
            customdata=[hover.of_curve(record, curve.row, point) for point in curve.points],
            hovertemplate="%{customdata}<extra></extra>",
            mode="lines+markers",
            line={"color": curve.colour, "width": 1, "dash": "dot"},
            marker={"size": 4, "color": curve.colour},
            name=name,
            legendgroup=name,
            showlegend=curve is curves[0],
            **more,
        )


def _faint(colour: str) -> str:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return f"rgba({red}, {green}, {blue}, 0.4)"


def add_views(figure: go.Figure, shown: on_plot.Points) -> None:
    """The front with what lies around it, if that is not everything, and buttons for both."""
    near, views = near_front(shown), {}
    if near is not None:
        views["the front"] = _view(shown, near)
    views["everything"] = _view(shown, everything(shown))
    figure.update_layout(next(iter(views.values())))
    if near is None:
        return
    figure.update_layout(
        margin={"t": 44},
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "x": 0,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "pad": {"b": 6},
                "bgcolor": "white",
                "bordercolor": "#c4c8ce",
                "font": {"size": 12},
                "buttons": [
                    {"label": label, "method": "relayout", "args": [view]} for label, view in views.items()
                ],
            }
        ],
    )


def _view(shown: on_plot.Points, view: View) -> dict[str, Any]:
    """What of the layout makes a view: its ranges, its names, and how many runs it leaves out."""
    runs = [run for baseline in shown.baselines for run in baseline.runs if run is not baseline.best]
    rows = [*shown.feasible, *shown.outside, *shown.stopped, *runs]
    left_out = sum(not view.holds(on_plot.place(row)) for row in rows)
    return {
        "xaxis.range": list(view.x),
        "yaxis.range": list(view.y),
        "xaxis.title.text": f"forgetting (pp); {left_out} more outside" if left_out else FORGETTING,
        "annotations": [_annotation(name) for name in names(shown, view)],
    }


def _annotation(name: Name) -> dict[str, Any]:
    (x, y), (dx, dy) = name.spot, name.shift
    place = {"ax": dx, "ay": -dy} if name.led else {"xshift": dx, "yshift": dy}
    return {
        "x": x,
        "y": y,
        "text": hover.plain(name.text, len(name.text)),
        "font": {"size": 12, "color": name.colour},
        "bgcolor": "rgba(255, 255, 255, 0.7)",
        "borderpad": 0,
        "showarrow": name.led,
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": name.colour,
        "standoff": 5,
        **place,
    }


def make_room(figure: go.Figure) -> None:
    """Height for a legend of more than two rows, of six entries each."""
    entries = sum(trace.showlegend is not False for trace in figure.data)
    figure.update_layout(height=figure.layout.height + 20 * max(0, -(-entries // 6) - 2))
