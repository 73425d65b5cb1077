"""The front as a still picture: the plotly figure, drawn by matplotlib, for which no browser is needed."""

from html import unescape
from io import BytesIO
from typing import Any

import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.report import words
from sweeper.report.plots import front_plot
from sweeper.report.view import HEIGHT, WIDTH
from sweeper.study.records import SweepRecord

_DPI = 160
_PIXEL = 0.72  # points: a hundred of plotly's pixels are an inch
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 56, 50  # pixels around the axes
_ROW, _PER_ROW = 22, 7  # of the legend: pixels, entries
#: Plotly's symbols, as far as the front has them, and matplotlib's.
_MARKERS = {
    "circle": "o",
    "circle-open": "o",
    "x-thin": "x",
    "line-ew": "_",
    "star": "*",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "pentagon": "p",
    "hexagon": "h",
    "triangle-left": "<",
    "triangle-right": ">",
    "cross": "P",
    "x": "X",
    "diamond-tall": "d",
}
_DASHES = {None: "-", "dash": "--", "dot": ":"}


def front_png(record: SweepRecord) -> bytes:
    """ID accuracy (percent) against forgetting (percentage points), validation splits, as a PNG."""
    title = f"{words.cut(record.name, 40)}: {words.budget(record)}"
    return figure_png(front_plot(record), title, words.cut(words.no_front(record), 200))


def figure_png(figure: go.Figure, title: str, note: str = "") -> bytes:
    """A plot of fronts as a PNG, with a title, and a line below that."""
    plot = figure.to_plotly_json()
    traces = [trace for trace in plot["data"] if trace.get("visible") != "legendonly"]
    named = [trace for trace in traces if trace.get("showlegend") is not False]
    rows = -(-len(named) // _PER_ROW)
    width, height = _LEFT + WIDTH + _RIGHT, _TOP + HEIGHT + _BOTTOM + rows * _ROW
    drawn = Figure(figsize=(width / 100, height / 100), dpi=_DPI)
    FigureCanvasAgg(drawn)
    axes = drawn.add_axes((_LEFT / width, 1 - (_TOP + HEIGHT) / height, WIDTH / width, HEIGHT / height))
    for depth, trace in enumerate(traces):
        _draw(axes, trace, depth)
    _dress(axes, plot["layout"])
    axes.set_title(_plain(title), loc="left", fontsize=12, pad=22 if note else 6)
    axes.text(0, 1.02, _plain(note), transform=axes.transAxes, fontsize=9)
    handles = [_handle(trace) for trace in sorted(named, key=lambda trace: trace.get("legendrank", 1000))]
    below = (-0.005, -(_BOTTOM - 6) / HEIGHT)
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=below, ncols=_PER_ROW, frameon=False, fontsize=9
    )
    file = BytesIO()
    drawn.savefig(file, format="png", metadata={"Software": ""})
    return file.getvalue()


def _draw(axes: Axes, trace: dict[str, Any], depth: int) -> None:
    x, y = ([float("nan") if v is None else v for v in trace[axis]] for axis in "xy")
    shared: dict[str, Any] = {"alpha": trace.get("opacity"), "zorder": 2 + depth / 1000}
    if "lines" in trace["mode"]:
        steps = "steps-post" if trace["line"].get("shape") == "hv" else "default"
        axes.plot(x, y, drawstyle=steps, **_line(trace), **shared)
    if "error_x" in trace:
        bars = trace["error_x"]
        widths: dict[str, Any] = {"elinewidth": bars["thickness"] * _PIXEL, "capsize": bars["width"] * _PIXEL}
        lengths: dict[str, Any] = {"xerr": bars["array"], "yerr": trace["error_y"]["array"]}
        axes.errorbar(x, y, fmt="none", ecolor=bars["color"], **lengths, **widths, **shared)
    if "markers" in trace["mode"]:
        sizes = trace["marker"]["size"]
        sizes = sizes if isinstance(sizes, list | tuple) else [sizes] * len(x)
        for size in set(sizes):
            at = [place for place, own in enumerate(sizes) if own == size]
            axes.plot(
                [x[i] for i in at], [y[i] for i in at], linestyle="none", **_marker(trace, size), **shared
            )


def _line(trace: dict[str, Any]) -> dict[str, Any]:
    line = trace["line"]
    return {
        "color": _colour(line["color"]),
        "linewidth": line["width"] * _PIXEL,
        "linestyle": _DASHES[line.get("dash")],
    }


def _marker(trace: dict[str, Any], size: float) -> dict[str, Any]:
    marker = trace["marker"]
    symbol, edge = marker.get("symbol", "circle"), marker.get("line", {})
    colour = marker.get("color") or edge["color"]
    return {
        "marker": _MARKERS[symbol],
        "markersize": size * _PIXEL,
        "markerfacecolor": "none" if symbol.endswith("-open") else colour,
        "markeredgecolor": edge.get("color", colour),
        "markeredgewidth": edge.get("width", 0.5) * _PIXEL,
    }


def _handle(trace: dict[str, Any]) -> Line2D:
    """An entry of the legend."""
    line = _line(trace) if "lines" in trace["mode"] else {"linestyle": "none"}
    sizes = trace["marker"]["size"]
    size = max(sizes) if isinstance(sizes, list | tuple) else sizes
    return Line2D([], [], label=_plain(trace["name"]), **line, **_marker(trace, size))


def _dress(axes: Axes, layout: dict[str, Any]) -> None:
    axes.set_xlim(layout["xaxis"]["range"])
    axes.set_ylim(layout["yaxis"]["range"])
    axes.set_xlabel(layout["xaxis"]["title"]["text"])
    axes.set_ylabel(layout["yaxis"]["title"]["text"])
    axes.grid(color="#e8eaed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c8ce")
    for name in layout.get("annotations", ()):
        _write(axes, name)


def _write(axes: Axes, name: dict[str, Any]) -> None:
    led = name["showarrow"]
    shift = (name["ax"], -name["ay"]) if led else (name["xshift"], name["yshift"])
    axes.annotate(
        _plain(name["text"]),
        (name["x"], name["y"]),
        (shift[0] * _PIXEL, shift[1] * _PIXEL),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=name["font"]["size"] * _PIXEL,
        color=name["font"]["color"],
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": name["arrowcolor"]} if led else None,
        zorder=4,
    )


def _colour(text: str) -> str | tuple[float, ...]:
    """A colour of plotly's as matplotlib takes it: ``rgba(27, 94, 158, 0.4)`` by its four shares of 1."""
    if not text.startswith("rgba"):
        return text
    *channels, alpha = (float(part) for part in text.removeprefix("rgba(").removesuffix(")").split(","))
    return (*(channel / 255 for channel in channels), alpha)


def _plain(text: str) -> str:
    """Text on one line that matplotlib shows as it is: a dollar would start a formula."""
    flat = " ".join(unescape(text).encode("utf-8", "replace").decode("utf-8").split())
    return flat.replace("$", r"\$")
