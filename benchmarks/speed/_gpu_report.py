"""What the GPU benchmark has found, as figures, a table and a picture."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from benchmarks.speed._gpu_models import STAND_IN, Way

TRIAL = {"epochs": 10, "pictures": 2000}
NO_GPU = "The GPU columns are not measured: this machine has none."
COLUMNS = (
    "device",
    "model",
    "batch",
    "way",
    "images a second",
    "trials an hour",
    "memory, GiB",
    "of the matrix peak",
    "times one trial",
    "step, ms",
    "over its kernels",
    "operations",
)
Row = dict[str, Any]
_COLORS = {
    "packs": "C0",
    "processes": "C7",
    "compiled": "C2",
    "2 blocks": "C1",
    "operation": "C3",
    "blocks counted": "C5",
}


def title(way: Way) -> str:
    """What a way is called."""
    if way.processes > 1:
        return f"{way.processes} processes"
    parts = [f"pack of {way.pack}" if way.pack > 1 else "one trial"]
    if way.open_blocks is not None:
        parts.append(f"{way.open_blocks} blocks open")
    if way.gib is not None:
        parts.append("prefix remembered" if way.gib else "prefix shared")
    parts += ["blocks counted"] * way.count + ["operation by operation"] * (not way.recorded)
    return ", ".join(parts + ["compiled"] * way.compiled)


def images_a_second(rounds: Sequence[Any], pack: int, batch: int) -> list[float]:
    """Of each round; an image counts once for every trial that trains on it."""
    return [sum(pack * batch * s["steps"] / s["seconds"] for s in spans) for spans in rounds]


def summarised(row: Row, batch: int, peak_flops: float) -> Row:
    """The row with its figures: [median, least, most] over the rounds."""
    if "error" in row:
        return row
    rates = images_a_second(row["rounds"], row["pack"], batch)
    alone = images_a_second(row["alone"], 1, batch)
    flops = row["flops_per_step"] / (row["pack"] * batch)
    step = statistics.median(s["seconds"] / s["steps"] for spans in row["rounds"] for s in spans)
    return row | {
        "images_a_second": spread(rates),
        "trials_an_hour": statistics.median(rates) * 3600 / (TRIAL["epochs"] * TRIAL["pictures"]),
        "of_matrix_peak": statistics.median(rates) * flops / peak_flops,
        "times_one_trial": spread([rate / one for rate, one in zip(rates, alone, strict=True)]),
        "step_seconds": step,
    }


def spread(values: Sequence[float]) -> list[float]:
    """Median, least and most."""
    return [statistics.median(values), min(values), max(values)]


def shown(figures: Sequence[float]) -> str:
    """A median with the least and the most."""
    median, least, most = (f"{f:,.0f}" if f >= 100 else f"{f:.3g}" for f in figures)
    return f"{median} ({least} to {most})"


def line(case: Row, row: Row) -> list[str]:
    """A line of the table."""
    first = [case["device"], case["model"], str(case["batch"]), row["way"]]
    if "error" in row:
        return [*first, row["error"], *[""] * (len(COLUMNS) - 5)]
    if "compile_seconds" in row:
        first[-1] += f" in {row['compile_seconds']:.0f} s"
    return [
        *first,
        shown(row["images_a_second"]),
        f"{row['trials_an_hour']:,.1f}",
        f"{row['memory_bytes'] / 2**30:.1f}",
        f"{row['of_matrix_peak']:.1%}",
        shown(row["times_one_trial"]),
        f"{1000 * row['step_seconds']:.2f}",
        f"{row['step_seconds'] / row['kernels'][0]:.2f}" if row["kernels"][0] else "",
        f"{row['kernels'][1]:,.0f}" if row["kernels"][0] else "",
    ]


def report(found: Row) -> str:
    """The results as text."""
    cases = found["cases"]
    table = [COLUMNS, ["---"] * len(COLUMNS), *(line(case, row) for case in cases for row in case["rows"])]
    peaks = {f"{c['device']} {c['precision']}": c["matrix_peak_flops"] for c in cases}
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    small = "A small model stands in for the others: what follows says only that the script works.\n"
    pictures = [
        f"- {row['way']}: {row['text'] if 'text' in row else shown(row['pictures_a_second'])}"
        for row in found["pictures"]
    ]
    return "\n".join(
        [
            "# Trials on one GPU\n",
            *([] if any(case["device"] == "cuda" for case in cases) else [f"**{NO_GPU}**\n"]),
            *([small] if all(case["model"] == STAND_IN for case in cases) else []),
            f"`{found['command']}`; benchmarks/speed/gpu.py says how it is measured.",
            f"{found['machine']}; {versions}.",
            "Matrix peak, measured: "
            + ", ".join(f"{name} {flops / 1e12:.3g} TFLOP/s" for name, flops in peaks.items())
            + f". A trial: {TRIAL['epochs']} epochs of {TRIAL['pictures']:,} pictures.\n",
            *("| " + " | ".join(cells) + " |" for cells in table),
            *(["\nPictures a second:\n", *pictures] if pictures else []),
            "\n![Throughput over trials at once](gpu.png)\n",
        ]
    )


def plot(cases: Sequence[Row], file: Path) -> None:
    """For each case, how many times one trial's throughput, over the trials that train at once."""
    columns = min(2, len(cases))
    lines = -(-len(cases) // columns)
    size = (max(7, 5.5 * columns), 3.2 * lines + 1)
    figure, panels = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for axes, case in zip(panels.flat, cases, strict=False):
        _draw(axes, case["rows"])
        axes.set_title(f"{case['model']}, batch {case['batch']}, {case['device']}", loc="left")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="trials at once", ylabel="throughput, times one trial", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels.flat[len(cases) :]:
        axes.remove()
    named = {name: line for axes in figure.axes for line, name in zip(*_legend(axes), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _legend(axes: Axes) -> tuple[list[Artist], list[str]]:
    lines, names = axes.get_legend_handles_labels()
    return list(lines), list(names)


def _draw(axes: Axes, rows: Sequence[Row]) -> None:
    """Ways that differ in the number of trials alone are joined by a line; a line from one trial on."""
    measured = [row for row in rows if "error" not in row]
    groups: dict[str, list[Row]] = {"packs": measured[:1], "processes": measured[:1]}
    for row in measured[1:]:
        kind = row["way"].partition(", ")[2] or ("processes" if row["processes"] > 1 else "packs")
        groups.setdefault(kind, []).append(row)
    for kind, unsorted in groups.items():
        members = sorted(unsorted, key=lambda row: row["pack"] * row["processes"])
        trials = [row["pack"] * row["processes"] for row in members]
        ratios = [row["times_one_trial"][0] for row in members]
        color = next(color for start, color in _COLORS.items() if kind.startswith(start))
        marker = {None: "o", 0.0: "s"}.get(members[-1]["gib"], "*")
        axes.plot(trials, ratios, color=color, marker=marker, label=kind)
