"""What a sweep costs beside its training, as it grows to thousands of trials.

Question: how many trials a second can the sweeper hand out and write down, and does a trial cost more the
more there have been? The trials train nothing (tests/do_nothing.py): what they report is made up of
their parameters, at once. All else is what a sweep is made of: study, searcher, scheduler, progress, tracker,
and Ray Tune, two trials at a time. So what is measured is search, bookkeeping and tracking alone.

    journal      the sweeper as it is without settings: Optuna's journal file, MLflow in SQLite
    postgresql   the same with both in PostgreSQL
    plain        the same trials by Ray Tune, its OptunaSearch and its MLflowLoggerCallback alone: MLflow in
                 SQLite, the study in memory, so that it could not be resumed from another machine

The sampler is `random` in all three, for a sampler's own time would hide the rest. It is measured by itself:
seconds for a proposal with so many trials in the study, the median of 5.

Measured: trials a second from the end of the first to the end of the last (Ray's documentation has 10,000
trials of one second, 16 at a time, in 715 s: 14 a second); the driver's CPU time, which tells what a trial
costs on a busy machine too, and its memory; calls of MLflow's client that write, and their time; by how many
trials MLflow is behind, and for how many seconds at the end; seconds of `status` and of `report` once Python
has started; the size of the report's page. Every row is a process of its own. How busy the machine was is
written down with the results.

    python -m benchmarks.speed.scale          # journal and plain, 1,000 trials; benchmarks/results/scale.*
    python -m benchmarks.speed.scale --trials 10000 --plain 2000 --postgres OPTUNA_URL MLFLOW_URL  # two empty
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks._results import heading, machine, run_apart, written
from benchmarks._trials import RESULTS, write_csv

TRIALS = 1000
SIZES = (100, 1000, 10_000)
SAMPLERS = ("random", "tpe", "budget")
_LIBRARIES = ("ray", "optuna", "mlflow", "sqlalchemy")

Found = dict[str, Any]


def measure(work: Path, name: str, arguments: Sequence[str], tracking: str | None = None) -> Found:
    """What a process of `_scale_runs` finds; it is not run again where that is in the folder."""
    file = work / f"{name}.json"
    if not file.exists():
        print(f"running {name}", flush=True)
        command = ["-m", "benchmarks.speed._scale_runs", *arguments, "--to", str(file)]
        database = tracking or f"sqlite:///{work}/{name}.db"
        run_apart(command, work, f"{name}.log", OMP_NUM_THREADS="1", MLFLOW_TRACKING_URI=database)
    found: Found = json.loads(file.read_text())
    return found


def pace(ended: Sequence[Sequence[float]]) -> float:
    """Trials a second from the end of the first to the end of the last."""
    return (len(ended) - 1) / (ended[-1][0] - ended[0][0])


def effort(ended: Sequence[Sequence[float]]) -> float:
    """Milliseconds of the driver's CPU time for a trial, all its threads together."""
    return 1000 * (ended[-1][1] - ended[0][1]) / (len(ended) - 1)


def way_row(way: str, found: Found) -> Found:
    """A line on a sweep."""
    ended = found["ended"]
    trials, tenth = len(ended), max(2, len(ended) // 10)
    megabytes = [memory for _, _, memory, _ in ended]
    return {
        "way": way,
        "trials": trials,
        "trials a second": f"{pace(ended):.1f}",
        "in the last tenth": f"{pace(ended[-tenth:]):.1f}",
        "driver's CPU, ms a trial, first tenth": f"{effort(ended[:tenth]):.0f}",
        "last tenth": f"{effort(ended[-tenth:]):.0f}",
        "driver MiB, first": f"{megabytes[0]:.0f}",
        "driver MiB, last": f"{megabytes[-1]:.0f}",
        "MLflow writes a trial": f"{found['mlflow_calls'] / trials:.1f}",
        "ms a write": f"{1000 * found['mlflow_seconds'] / found['mlflow_calls']:.1f}",
        "MLflow behind, most trials": max(behind for *_, behind in ended),
        "at the end, s": f"{found['lag']:.1f}",
    }


def grown_row(trials: int, found: Found) -> Found:
    """A line on a study of so many trials."""
    suggestions = {f"{sampler}, s": f"{found[sampler]:.3f}" for sampler in SAMPLERS}
    read = {f"{name}, s": f"{found[name]:.2f}" for name in ("status", "report")}
    return {"trials": trials, **suggestions, **read, "page, MB": f"{found['page'] / 1e6:.1f}"}


def curve_rows(ways: dict[str, Found]) -> list[Found]:
    """For the CSV file: each sweep at a hundred places."""
    rows = []
    for way, found in ways.items():
        ended = found["ended"]
        ends = sorted({round(share * len(ended) / 100) for share in range(1, 101)} - {0, 1})
        for first, last in pairwise([1, *ends]):
            seconds, _, memory, behind = ended[last - 1]
            span = ended[first - 1 : last]
            row = {"way": way, "trials": last, "seconds": seconds, "trials_a_second": pace(span)}
            rows.append(row | {"cpu_ms": effort(span), "driver_mib": memory, "mlflow_behind": behind})
    return rows


def report(ways: dict[str, Found], grown: dict[int, Found], command: str) -> str:
    """The results as text."""
    lines = [way_row(way, found) for way, found in ways.items()]
    sizes = [grown_row(trials, found) for trials, found in grown.items()]
    swept = [
        f"{way}: `status` {found['status']:.2f} s, `report` {found['report']:.2f} s"
        for way, found in ways.items()
        if "status" in found
    ]
    own = machine(_LIBRARIES) | {"command": command}
    return f"""{heading("What a sweep costs beside its training", "speed/scale", own)}
{written(lines).strip()}

On the swept studies themselves: {"; ".join(swept)}.

With so many trials in a journal, seconds for a proposal by each sampler, for `status` and for `report`:

{written(sizes).strip()}

![Pace, memory and proposals over trials](scale.png)
"""


def plot(curves: Sequence[Found], grown: dict[int, Found], file: Path) -> None:
    """Pace, CPU time and memory over trials of each way; seconds of a proposal over the size of a study."""
    figure, panels = plt.subplots(1, 4, figsize=(17, 4), layout="constrained")
    for way in dict.fromkeys(row["way"] for row in curves):
        rows = [row for row in curves if row["way"] == way]
        trials = [row["trials"] for row in rows]
        for axes, name in zip(panels, ("trials_a_second", "cpu_ms", "driver_mib"), strict=False):
            axes.plot(trials, _smooth([row[name] for row in rows]), label=way)
    for axes in panels[:3]:
        axes.set_ylim(bottom=0)
    for sampler in SAMPLERS:
        panels[3].loglog(list(grown), [found[sampler] for found in grown.values()], "o-", label=sampler)
    titles = ("trials a second", "driver's CPU, ms a trial", "driver's memory, MiB", "seconds for a proposal")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left")
        axes.set_xlabel("trials")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _smooth(values: Sequence[float]) -> list[float]:
    """The median of each value and its three neighbours on either side."""
    return [statistics.median(values[max(0, i - 3) : i + 4]) for i in range(len(values))]


def main() -> None:
    parser = argparse.ArgumentParser(description="A sweep's pace and memory as it grows.")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each way")
    parser.add_argument("--plain", type=int, metavar="TRIALS", help="of the plain script, if not as many")
    parser.add_argument("--postgres", nargs=2, metavar=("OPTUNA_URL", "MLFLOW_URL"), help="two databases")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "scale_benchmark"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    work, trials = options.work.absolute(), str(options.trials)
    work.mkdir(parents=True, exist_ok=True)
    ways = {"journal": measure(work, f"journal-{trials}", ["sweep", "--trials", trials])}
    if options.postgres:
        study, tracking = options.postgres
        asked = ["sweep", "--trials", trials, "--storage", study]
        ways["postgresql"] = measure(work, f"postgresql-{trials}", asked, tracking)
    plain = str(options.plain or trials)
    ways["plain"] = measure(work, f"plain-{plain}", ["plain", "--trials", plain])
    sizes = [size for size in SIZES if size < options.trials] + [options.trials]
    grown = {n: measure(work, f"grown-{n}", ["grown", "--trials", str(n)]) for n in sizes}

    command = f"python -m benchmarks.speed.scale --trials {trials}"
    command += f" --plain {plain}" if options.plain else ""
    command += " --postgres ..." if options.postgres else ""
    curves = curve_rows(ways)
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "scale.csv", curves)
    text = report(ways, grown, command)
    (options.out / "scale.md").write_text(text)
    plot(curves, grown, options.out / "scale.png")
    print(text)


if __name__ == "__main__":
    main()
