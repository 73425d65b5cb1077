"""The front as a still picture."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweeper.report import points as on_plot
from sweeper.report import words
from sweeper.report.labels import LONGEST, Box, Spot, names
from sweeper.study.records import SweepRecord, TrialRecord

_DPI = 160


def front_png(record: SweepRecord) -> bytes:
    """ID accuracy (percent) against forgetting (percentage points), validation splits, as a PNG."""
    shown = on_plot.points(record)
    figure = Figure(figsize=(10, 5.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_trials(axes, shown)
    _draw_means(axes, shown.means)
    _draw_marks(axes, shown)
    _draw_curves(axes, shown)
    _dress(axes, record)
    _write_names(figure, axes, shown)
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": ""})
    return file.getvalue()


def _draw_trials(axes: Axes, shown: on_plot.Points) -> None:
    thin: dict[str, Any] = {"linestyle": "none", "markersize": 6, "markeredgewidth": 1.2}
    _draw(
        axes, "stopped early", shown.stopped, marker="_", color=on_plot.OUTSIDE, alpha=on_plot.FAINT, **thin
    )
    _draw(axes, "outside budget", shown.outside, marker="x", color=on_plot.OUTSIDE, **thin)
    _draw(axes, "inside budget", shown.feasible, marker="o", color=on_plot.FEASIBLE, **thin)
    step = {"drawstyle": "steps-post", "linewidth": 1.4, "markersize": 7}
    front = "front, single runs" if shown.means else "front"
    _draw(axes, front, shown.front, marker="o", color=on_plot.FRONT, **step)
    if shown.knee is not None:
        ring = {
            "marker": "o",
            "linestyle": "none",
            "markersize": 14,
            "markeredgewidth": 2,
            "fillstyle": "none",
        }
        _draw(axes, f"knee: trial {shown.knee.label}", [shown.knee], color=on_plot.KNEE, zorder=4, **ring)


def _draw_means(axes: Axes, means: Sequence[on_plot.Mean]) -> None:
    """White dots with error bars, each joined to its trial's single run by a thin line."""
    for mean in means:
        x, y = zip(mean.single, mean.place, strict=True)
        axes.plot(x, y, color=on_plot.FRONT, linestyle="--", linewidth=1.0, alpha=0.4)
        axes.errorbar(
            *mean.place,
            xerr=mean.x.half_width,
            yerr=mean.y.half_width,
            label="mean of seeds, 95 % CI" if mean is means[0] else None,
            fmt="o",
            color=on_plot.FRONT,
            markerfacecolor="white",
            markersize=7,
            markeredgewidth=1.6,
            linewidth=1.3,
            capsize=3,
            zorder=5,
        )


def _draw_marks(axes: Axes, shown: on_plot.Points) -> None:
    if shown.pre_trained is not None:
        star: dict[str, Any] = {"marker": "*", "linestyle": "none", "color": on_plot.PRE_TRAINED}
        axes.plot([0.0], [shown.pre_trained], label="pre-trained", markersize=18, **star)
    for baseline in shown.baselines:
        x, y = zip(*(on_plot.place(run) for run in baseline.runs), strict=True)
        axes.plot(x, y, color=baseline.colour, linewidth=1.0, alpha=0.4)
        style: dict[str, Any] = {"marker": baseline.marker, "linestyle": "none", "color": baseline.colour}
        _draw(axes, baseline.label, [baseline.best], markersize=8, **style)
        axes.plot(x, y, markersize=5.5, **style)


def _draw_curves(axes: Axes, shown: on_plot.Points) -> None:
    """Under all else, with one entry in the legend."""
    dotted: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0, "marker": ".", "markersize": 3, "zorder": 1}
    for curve in shown.curves:
        x, y = zip(*(on_plot.spot(point) for point in curve.points), strict=True)
        name = "WiSE-FT curve" if curve is shown.curves[0] else None
        axes.plot(x, y, label=name, color=curve.colour, **dotted)


def _write_names(figure: Figure, axes: Axes, shown: on_plot.Points) -> None:
    """Names beside baselines and the pre-trained point, placed when the layout is known."""
    figure.draw_without_rendering()
    point = _DPI / 72
    frame = axes.get_window_extent()
    area = Box(*(side / point for side in (frame.x0, frame.y0, frame.x1, frame.y1)))

    def to_points(spot: Spot) -> Spot:
        x, y = axes.transData.transform(spot)
        return float(x) / point, float(y) / point

    for name in names(shown, to_points, area, (5.2, 10.0)):
        axes.annotate(
            _plain(name.text, LONGEST),
            name.spot,
            name.shift,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            color=name.colour,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            arrowprops={"arrowstyle": "-", "linewidth": 0.7, "color": name.colour} if name.led else None,
        )


def _draw(axes: Axes, name: str, rows: Sequence[TrialRecord], **style: Any) -> None:
    if rows:
        x, y = zip(*sorted(on_plot.place(row) for row in rows), strict=True)
        axes.plot(x, y, label=_plain(name), **style)


def _dress(axes: Axes, record: SweepRecord) -> None:
    axes.set_title(_plain(f"{record.name}: {words.budget(record)}", 80), loc="left", fontsize=12)
    axes.set_xlabel("forgetting (percentage points)")
    axes.set_ylabel(f"ID accuracy (%{words.per_class(record, 'id_accuracy')})")
    axes.grid(color="#e8eaed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c8ce")
    if not record.front:
        note: dict[str, Any] = {
            "transform": axes.transAxes,
            "fontsize": 9,
            "color": "#57606a",
            "va": "bottom",
            "wrap": True,
        }
        axes.text(0.0, 1.0, _plain(words.no_front(record), 200), **note)
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=12, pad=30)
    if entries := len(axes.get_legend_handles_labels()[0]):
        spacing = 0.8 if entries <= 14 else 0.45
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=10, labelspacing=spacing
        )


def _plain(text: str, most: int = 32) -> str:
    """Text on one line that matplotlib shows as it is, cut where long: a dollar would start a formula."""
    flat = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return words.cut(flat, most).replace("$", r"\$")
