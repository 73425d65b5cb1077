"""The interactive plots of the page, as plotly figures."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from sweeper.front import hypervolume_history, number
from sweeper.records import SweepRecord, TrialRecord
from sweeper.report import points as on_plot
from sweeper.report import words

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
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
    figure = go.Figure(layout=_layout("forgetting (percentage points)", "ID accuracy (%)", 560))
    grey = {"symbol": "x-thin", "size": 7, "line": {"color": on_plot.OUTSIDE, "width": 1.5}}
    small = {"symbol": "line-ew", "size": 7, "line": {"color": on_plot.OUTSIDE, "width": 1.5}}
    plain = {"symbol": "circle", "size": 8, "color": on_plot.FEASIBLE}
    strong = {"symbol": "circle", "size": 10, "color": on_plot.FRONT}
    _add(figure, record, "stopped early", shown.stopped, small)
    _add(figure, record, "outside budget", shown.outside, grey)
    _add(figure, record, "inside budget", shown.feasible, plain)
    _add(figure, record, "front", shown.front, strong, mode="lines+markers", line=_step(on_plot.FRONT))
    if shown.knee is not None:
        ring = {"symbol": "circle-open", "size": 20, "color": on_plot.KNEE, "line": {"width": 2.5}}
        _add(figure, record, f"knee: trial {shown.knee.label}", [shown.knee], ring, hoverinfo="skip")
    if shown.pre_trained is not None:
        _add_pre_trained(figure, shown.pre_trained)
    for position, row in enumerate(shown.baselines):
        symbol = on_plot.BASELINE_MARKERS[position % len(on_plot.BASELINE_MARKERS)][0]
        _add(figure, record, row.label, [row], {"symbol": symbol, "size": 10, "color": on_plot.BASELINE})
    _label(figure, shown)
    _add_zoom(figure, shown)
    return figure


def hypervolume_plot(record: SweepRecord) -> go.Figure:
    """Hypervolume of the feasible trials so far, over the number of the trial."""
    figure = go.Figure(layout=_layout("trial", "hypervolume", 320))
    history = hypervolume_history(record)
    numbers, areas = [pair[0] for pair in history], [pair[1] for pair in history]
    last = max((number(t, i) for i, t in enumerate(record.trials) if t.state == "complete"), default=0)
    if history and last > numbers[-1]:
        numbers, areas = [*numbers, last], [*areas, areas[-1]]
    figure.add_scatter(
        x=numbers,
        y=areas,
        mode="lines+markers",
        line=_step(on_plot.FRONT),
        marker={"size": 5, "color": on_plot.FRONT},
        hovertemplate="after trial %{x}: %{y:.4f}<extra></extra>",
        showlegend=False,
    )
    return figure


def _layout(x: str, y: str, height: int) -> dict[str, Any]:
    return {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "font": {"family": _FONT, "size": 13, "color": "#1f2328"},
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
            "font": {"size": 12},
        },
        "xaxis": {**_AXIS, "title": {"text": x}},
        "yaxis": {**_AXIS, "title": {"text": y}},
    }


def _step(colour: str) -> dict[str, Any]:
    """At a forgetting between two front trials, the better known one is that which forgets less."""
    return {"shape": "hv", "color": colour, "width": 1.5}


def _add(
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
    trace = {
        "x": [on_plot.place(row)[0] for row in rows],
        "y": [on_plot.place(row)[1] for row in rows],
        "customdata": [_hover(record, row) for row in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
        "mode": "markers",
        "name": _plain(name, 20),
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


def _label(figure: go.Figure, shown: on_plot.Points) -> None:
    """Names above the baselines and under the pre-trained point; a baseline on that point needs none."""
    for row in shown.baselines:
        x, y = (round(value, 2) for value in on_plot.place(row))
        if shown.pre_trained is None or (x, y) != (0.0, round(shown.pre_trained, 2)):
            _write(figure, on_plot.place(row), row.label, 15)
    if shown.pre_trained is not None:
        _write(figure, (0.0, shown.pre_trained), "pre-trained", -18)


def _write(figure: go.Figure, spot: tuple[float, float], text: str, shift: int) -> None:
    x, y = spot
    figure.add_annotation(x=x, y=y, text=_plain(text, 24), showarrow=False, yshift=shift, font={"size": 12})


def _add_zoom(figure: go.Figure, shown: on_plot.Points) -> None:
    """Two buttons: everything, or the front with the room around it."""
    if not shown.front:
        return
    spots = [on_plot.place(row) for row in shown.front]
    ranges = [_around([spot[axis] for spot in spots]) for axis in (0, 1)]
    near = {"xaxis.range": ranges[0], "yaxis.range": ranges[1]}
    everything = {"xaxis.autorange": True, "yaxis.autorange": True}
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
                    {"label": "everything", "method": "relayout", "args": [everything]},
                    {"label": "the front", "method": "relayout", "args": [near]},
                ],
            }
        ],
    )


def _around(values: Sequence[float]) -> list[float]:
    margin = 0.15 * (max(values) - min(values)) or 1.0
    return [min(values) - margin, max(values) + margin]


def _hover(record: SweepRecord, row: TrialRecord) -> str:
    lines = [f"<b>{row.role} {_plain(row.label, 60)}</b>"]
    lines += [f"{_plain(name, 40)}: {_plain(words.setting(v), 60)}" for name, v in row.parameters.items()]
    lines.append(f"ID accuracy: {words.figure(row.metrics.get('id_accuracy'))} %")
    lines.append(f"forgetting: {words.figure(row.metrics.get('forgetting'))} pp")
    lines.append(f"active blocks: {words.active(record, row)}")
    lines += [_plain(name, 40) for name in row.active[:8]]
    if len(row.active) > 8:
        lines.append(f"and {len(row.active) - 8} more")
    if row.state == "pruned":
        lines.append("stopped early")
    return "<br>".join(lines)


def _plain(text: str, most: int) -> str:
    """Text that plotly shows as it is, cut where it is long: plotly reads some HTML in its strings."""
    return escape(words.cut(text, most), quote=False)
