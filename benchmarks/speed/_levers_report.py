"""Tables and plots of benchmarks/speed/levers.py."""

import statistics
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import linregress

from benchmarks._results import heading, short, spread, written

PLAIN, MEMORY, ALL = "plain", "prefix, memory", "pack, prefix, memory"
WAYS: dict[str, float | None] = {PLAIN: None, "prefix": 0.0, MEMORY: 4.0}  # GiB remembered
NO_GRID = ("evaluation", "kept memory", "growth")
KEPT = {"given back": False, "kept": True}  # the memory that a step frees
CLOCKS = ("wall", "cpu")
PICTURES_A_TRIAL = 3 * 1078
PACK, FEW = 8, 2  # the pack and the open blocks at which levers are compared, where they were measured

Row = dict[str, Any]


def few(there: Sequence[int], wanted: int) -> int:
    """The size that is wanted, or the largest there is below it."""
    return max(size for size in there if size <= max(wanted, min(there)))


def slope(rows: Sequence[Row], clock: str = "cpu") -> tuple[float, float]:
    """Exponent of a power law through the medians of the rounds, and its standard error."""
    sizes, seconds = np.log(_points(rows, clock)).T
    fit = linregress(sizes, seconds)
    return float(fit.slope), float(fit.stderr)


def _points(rows: Sequence[Row], clock: str) -> list[tuple[float, float]]:
    return [(float(row["size"]), statistics.median(row[clock])) for row in rows]


def ratio(before: Row, after: Row, clock: str) -> str:
    """How many times faster one is than the other; round by round, since their neighbours were the same."""
    return spread([b / a for b, a in zip(before[clock], after[clock], strict=True)])


def find(rows: Sequence[Row], **wanted: Any) -> Row:
    return next(row for row in rows if wanted.items() <= row.items())


def lever_rows(rows: Sequence[Row], unit: str) -> Iterator[dict[str, str]]:
    """Each lever alone, before and after, at the pack and the blocks that stand for all."""
    blocks = few(sorted({row["blocks"] for row in rows}), FEW)
    for placed, batch in product(*(dict.fromkeys(row[name] for row in rows) for name in ("placed", "batch"))):
        own = [row for row in rows if (row["placed"], row["batch"], row["blocks"]) == (placed, batch, blocks)]
        pack = few(sorted({row["pack"] for row in own}), PACK)
        levers = {
            f"pack of {pack}": ((1, PLAIN), (pack, PLAIN)),
            "prefix, no memory": ((pack, PLAIN), (pack, "prefix")),
            "prefix, memory": ((pack, PLAIN), (pack, MEMORY)),
            "all together": ((1, PLAIN), (pack, MEMORY)),
        }
        for name, sides in levers.items():
            before, after = (find(own, pack=p, way=way) for p, way in sides)
            yield {
                "open blocks": f"{blocks} {placed}",
                "batch": str(batch),
                "lever": name,
                f"{unit} before": short(1 / statistics.median(before["wall"])),
                "after": short(1 / statistics.median(after["wall"])),
                "times, wall": ratio(before, after, "wall"),
                "times, CPU": ratio(before, after, "cpu"),
            }


def grid_rows(rows: Sequence[Row], placed: str, scale: float) -> Iterator[dict[str, str]]:
    """A line for each batch size and pack: so many a second, over the blocks, each of the three ways.

    There is a dash where a step did not fit into the memory.
    """
    own = [row for row in rows if row["placed"] == placed]
    for batch, pack in dict.fromkeys((row["batch"], row["pack"]) for row in own):
        line = {"batch": str(batch), "pack": str(pack)}
        for blocks in dict.fromkeys(row["blocks"] for row in own):
            ways = [r for r in own if (r["batch"], r["pack"], r["blocks"]) == (batch, pack, blocks)]
            speeds = [short(scale / statistics.median(way["wall"])) for way in ways]
            line[f"{blocks} open"] = " / ".join(speeds) or "-"
        yield line


def kept_rows(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """A line for each model, batch size and pack: what it brings that freed memory is kept."""
    for model, batch, pack in dict.fromkeys((row["model"], row["batch"], row["pack"]) for row in rows):
        before, after = (find(rows, model=model, batch=batch, pack=pack, way=way) for way in KEPT)
        yield {
            "model": model,
            "open blocks": str(before["blocks"]),
            "batch": str(batch),
            "pack": str(pack),
            "pictures a second, memory given back": short(1 / statistics.median(before["wall"])),
            "kept": short(1 / statistics.median(after["wall"])),
            "times, wall": ratio(before, after, "wall"),
            "times, CPU": ratio(before, after, "cpu"),
        }


def growth_rows(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """A line for each size and way: its seconds and the slope."""
    for against, way in dict.fromkeys((row["against"], row["way"]) for row in rows):
        own = [row for row in rows if (row["against"], row["way"]) == (against, way)]
        fits = {clock: slope(own, clock) for clock in CLOCKS}
        yield {
            "against": against,
            "way": way,
            **{f"slope, {clock}": f"{found:.2f} ± {error:.2f}" for clock, (found, error) in fits.items()},
            "CPU seconds": ", ".join(f"{size:g}: {seconds:.3g}" for size, seconds in _points(own, "cpu")),
        }


def report(parts: dict[str, Row]) -> str:
    """The results as text, of all parts that have been measured."""
    told = " / ".join(WAYS)
    text = []
    for name, part in parts.items():
        rows = part["rows"]
        text.append(heading(f"Levers: {name}", "speed/levers", part))
        if name == "growth":
            text.append(written(growth_rows(rows)) + "\n![How cost grows](growth.png)\n")
            continue
        rounds = " to ".join(str(n) for n in sorted({len(row["wall"]) for row in rows}))
        text.append(f"Each lever alone; medians and ratios; rounds: {rounds}.\n")
        if name == "kept memory":
            text.append(written(kept_rows(rows)))
            continue
        scales = {"evaluations a second": 1.0}
        if not name.startswith("evaluation"):
            scales = {"pictures a second": 1.0, "trials an hour": 3600 / PICTURES_A_TRIAL}
        text.append(written(lever_rows(rows, next(iter(scales)))))
        for placed, (title, scale) in product(dict.fromkeys(row["placed"] for row in rows), scales.items()):
            text.append(f"{title[0].upper()}{title[1:]}, {told}; n {placed} blocks open:\n")
            text.append(written(grid_rows(rows, placed, scale)))
    return "\n".join(text) + "\n![Pictures a second over the pack](levers.png)\n"


def plot_levers(parts: dict[str, Row], file: Path) -> None:
    """Pictures a second over the pack; a row a model, a panel a batch size, a colour a number of blocks."""
    grids = {name: p["rows"] for name, p in parts.items() if not name.startswith(NO_GRID)}
    last = {name: [row for row in rows if row["placed"] == "last"] for name, rows in grids.items()}
    models = {name: rows for name, rows in last.items() if rows}
    if not models:
        return
    batches = sorted({row["batch"] for rows in models.values() for row in rows})
    size = (2.5 + 3.2 * len(batches), 4 * len(models))
    figure, panels = plt.subplots(
        len(models), len(batches), figsize=size, layout="constrained", squeeze=False
    )
    for line, (name, rows) in zip(panels, models.items(), strict=True):
        for axes, batch in zip(line, batches, strict=True):
            _plot_speeds(axes, [row for row in rows if row["batch"] == batch])
            axes.set_title(f"{name}, batch {batch}", loc="left")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _plot_speeds(axes: Any, rows: Sequence[Row]) -> None:
    """A line for each number of open blocks and each way."""
    styles = dict(zip(WAYS, (":", "--", "-"), strict=True))
    blocks = dict.fromkeys(row["blocks"] for row in rows)
    for (place, count), (way, style) in product(enumerate(blocks), styles.items()):
        line = [row for row in rows if (row["blocks"], row["way"]) == (count, way)]
        speeds = [1 / statistics.median(row["wall"]) for row in line]
        label = f"last {count}, {way}"
        axes.loglog([row["pack"] for row in line], speeds, style, color=f"C{place}", label=label)
    _name_ticks(axes, [row["pack"] for row in rows])
    axes.set(xlabel="pack", ylabel="pictures a second")
    axes.spines[["top", "right"]].set_visible(False)


def _name_ticks(axes: Any, sizes: Sequence[int]) -> None:
    """A tick for each size that was measured, as a plain number."""
    ticks = sorted(set(sizes))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


_PER = {"trials": "", "pack": " for a picture of every member"}


def plot_growth(rows: Sequence[Row], file: Path) -> None:
    """CPU seconds over each size, on logarithmic axes, with the slope of each way."""
    against = list(dict.fromkeys(row["against"] for row in rows))
    figure, panels = plt.subplots(1, len(against), figsize=(4 * len(against), 4.2), layout="constrained")
    for axes, what in zip(panels, against, strict=True):
        for way in dict.fromkeys(row["way"] for row in rows):
            own = [row for row in rows if (row["against"], row["way"]) == (what, way)]
            axes.loglog(*zip(*_points(own, "cpu"), strict=True), "o-", label=f"{way}: {slope(own)[0]:.2f}")
        _name_ticks(axes, [row["size"] for row in rows if row["against"] == what])
        axes.set(xlabel=what, ylabel="CPU s" + _PER.get(what, " for a picture"))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, title="slope", loc="lower left", bbox_to_anchor=(0, 1))
    figure.savefig(file, dpi=150)
    plt.close(figure)
