"""What the benchmarks of speed share: processes of their own, the machine, and how figures are written."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks._trials import markdown

REPOSITORY = Path(__file__).parents[1]
CORES = os.cpu_count() or 1
LIBRARIES = ("torch", "ray", "optuna", "mlflow", "open_clip_torch", "timm")
_DONE = (0, 3)  # exit status of a sweep that ended, with and without a trial inside the budget
_AWAY = ("RAY_ADDRESS", "SWEEPER_STORAGE", "SWEEPER_RESULTS", "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS")


def run_apart(arguments: Sequence[str], folder: Path, log: str = "log", **settings: str) -> None:
    """A Python process in a folder, as a person starts it there, with environment settings of its own.

    Its output goes to a file of the folder. What a sweep in this process has told Tune must not reach it.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _AWAY}
    here = {name: value for name, value in kept.items() if not name.startswith("TUNE_")}
    here |= {"PYTHONPATH": str(REPOSITORY), **settings}
    with (folder / log).open("w") as output:
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=here, stdout=output, stderr=output
        )
    if ended.returncode not in _DONE:
        sys.exit(f"{' '.join(arguments)} ended with status {ended.returncode}; see {folder / log}")


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the most where there are several."""
    median = short(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({short(min(values))} to {short(max(values))})"


def short(value: float) -> str:
    """Three figures, or all of a whole number that has more."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine(libraries: Sequence[str] = LIBRARIES) -> dict[str, Any]:
    """What the figures were measured on."""
    known = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in known if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {name: version(name) for name in libraries}
    return {
        "machine": f"{CORES} cores ({model}), {memory:.0f} GiB, mean load {os.getloadavg()[2]:.1f}",
        "versions": {"Python": platform.python_version(), **versions},
    }


def heading(title: str, name: str, own: Mapping[str, Any]) -> str:
    """The first lines of a page of results."""
    versions = ", ".join(f"{library} {number}" for library, number in own["versions"].items())
    told = f"`{own['command']}`; benchmarks/{name}.py says how it is measured."
    return f"# {title}\n\n{told}\n{own['machine']}; {versions}.\n"


def written(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of the same columns as a table."""
    rows = list(rows)
    return markdown(list(rows[0]), [list(row.values()) for row in rows])
