"""How soon has one path what a plain search ends with?

Question: a plain script of Ray Tune, Optuna and MLflow (benchmarks/plain_ray_tune.py) searches lambda and
rank for 16 trials of 3 epochs, under a budget of at most 2, 4 or 8 of 32 blocks. After how many epochs, and
how many seconds, has one trial in `budget.mode: path` a front at least as good, for each of the budgets?

Method: tiny-clip learns the digits, 5 seeds, of the sampler and of every training. A path is one trial of
`python -m sweeper run` with 14, 7 or 5 epochs, rank 8, learning rate 5e-3, and serves all three budgets; a
plain search is run for each. Both train one trial at a time. Measured is the hypervolume of (ID accuracy,
retained accuracy) as fractions, reference point (0, 0), validation splits, of the models inside the budget so
far. Seconds are of whole commands: the path's are its command's, times the share of the epochs that it
needed.

    python -m benchmarks.path_beside_search                # all of it, then results/path_beside_search.md
    python -m benchmarks.path_beside_search --seeds 0 1    # a part; what is in --work is not run again
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks._results import CORES, REPOSITORY, run_apart
from benchmarks._trials import RESULTS, markdown
from benchmarks.front import hypervolume
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

SPACE = str(REPOSITORY / "spaces" / "clip_lambda.yaml")
BUDGETS, SEEDS, TRIALS, EPOCHS = (2, 4, 8), (0, 1, 2, 3, 4), 16, 3
LENGTHS = (14, 7, 5)  # epochs of a path
PATH = (
    "budget={active_blocks: 2, mode: path}",
    "method.rank=8",
    "method.path={counts: [32, 24, 16, 12, 8, 6, 4, 2, 1], dense: 0.2857}",
    "search={trials: 1}",
    "baselines=[]",
    "confirm=null",
    f"resources={{cpus_per_trial: {CORES}, pack: 1}}",
)
MEASURES = ["active_blocks", "id_accuracy", "retained_accuracy", "epoch"]


def path(epochs: int, seed: int, work: Path) -> pd.DataFrame:
    """A row for each point of a path, in their order; ``epoch`` is how many were spent until then."""

    def command(name: str) -> Sequence[str]:
        chosen = (*PATH, f"training.epochs={epochs}", f"training.seed={seed}")
        settings = [word for s in chosen for word in ("--set", s)]
        return ["-m", "sweeper", "run", SPACE, "--name", name, *settings]

    def result(name: str) -> pd.DataFrame:
        study = SweepStudy(name, open_storage(None, work / "sweeps" / name / "study.journal"))
        (trial,) = study.record().trials
        return pd.DataFrame([{key: point.metrics[key] for key in MEASURES} for point in trial.points])

    name = f"path-{epochs}-seed-{seed}"
    return _run(work, name, command(name), lambda: result(name))


def plain(budget: int, seed: int, work: Path) -> pd.DataFrame:
    """A row for each trial of the plain search, in order of completion."""
    name = f"plain-{budget}-seed-{seed}"
    settings = ("--set", f"budget={{active_blocks: {budget}}}", "--set", f"training.epochs={EPOCHS}")
    script = [str(REPOSITORY / "benchmarks" / "plain_ray_tune.py"), "--trials", str(TRIALS)]
    ended = work / f"{name}-trials.csv"
    own = ["--seed", str(seed), "--out", str(ended)]
    rows = _run(work, name, [*script, *own, *settings], lambda: pd.read_csv(ended))
    return rows.assign(epoch=rows["epochs"].cumsum())


def _run(work: Path, name: str, command: Sequence[str], result: Any) -> pd.DataFrame:
    """The rows of a command, with its seconds, run now if it has not been before."""
    file = work / f"{name}.csv"
    if not file.exists():
        print(f"running {name}", flush=True)
        began = time.perf_counter()
        tracking = f"sqlite:///{work}/{name}.db"
        run_apart(command, work, f"{name}.log", OMP_NUM_THREADS="1", MLFLOW_TRACKING_URI=tracking)
        seconds = time.perf_counter() - began
        result().assign(seconds=seconds).to_csv(file, index=False)
    return pd.read_csv(file)


def area(rows: pd.DataFrame, budget: int) -> float:
    """The hypervolume of the models inside a budget of at most so many blocks; 0 without any."""
    inside = rows[rows["active_blocks"] <= budget]
    return hypervolume(inside[["id_accuracy", "retained_accuracy"]].to_numpy() / 100)


def comparison(found: pd.DataFrame, searched: pd.DataFrame, budget: int) -> dict[str, Any]:
    """The two fronts at their ends; epochs and seconds after which the path had the other's, if it had."""
    goal, whole, spent = area(searched, budget), found["epoch"].iloc[-1], searched["epoch"].iloc[-1]
    ends = [found["epoch"].iloc[n] for n in range(len(found)) if area(found[: n + 1], budget) >= goal > 0]
    epochs = ends[0] if ends else (0.0 if goal == 0 else None)
    share = None if epochs is None else epochs / whole
    return {
        "plain": goal,
        "path": area(found, budget),
        "epochs": epochs,
        "of epochs": None if epochs is None else epochs / spent,
        "of seconds": None
        if share is None
        else share * found["seconds"].iloc[0] / searched["seconds"].iloc[0],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a length of path, seed and budget, and the medians of each length and budget."""
    lines = []
    for length, budget in itertools.product(LENGTHS, BUDGETS):
        own = [row for row in rows if (row["length"], row["at most"]) == (length, budget)]
        lines += [[length, budget, row["seed"], *_shown(row)] for row in own]
        reached = [row for row in own if row["epochs"] is not None]
        middle = {name: statistics.median(row[name] for row in reached) for name in own[0] if reached}
        ends = {name: statistics.median(row[name] for row in own) for name in ("plain", "path")}
        median = middle | ends if reached else dict.fromkeys(own[0]) | ends
        lines.append([length, budget, f"median; reached by {len(reached)} of {len(own)}", *_shown(median)])
    header = ["path of epochs", "at most", "seed", "plain at its end", "path at its end", "epochs until then"]
    return markdown([*header, "of the plain search's epochs", "of its seconds"], lines)


def _shown(row: dict[str, Any]) -> list[str]:
    def text(name: str, form: str) -> str:
        return "not reached" if row[name] is None else format(row[name], form)

    ends = [text("plain", ".4f"), text("path", ".4f")]
    return [*ends, text("epochs", ".1f"), text("of epochs", ".0%"), text("of seconds", ".0%")]


def main() -> None:
    """Runs what has not been run, then writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--work", type=Path, help="the folder that keeps runs; else a temporary one")
    options = parser.parse_args()
    work = (options.work or Path(tempfile.mkdtemp(prefix="path-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "length": length,
            "at most": budget,
            "seed": seed,
            **comparison(path(length, seed, work), plain(budget, seed, work), budget),
        }
        for seed, length, budget in itertools.product(options.seeds, LENGTHS, BUDGETS)
    ]
    text = table(rows)
    (RESULTS / "path_beside_search.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
