"""What a sweep's front is worth for the epochs that it costs, beside a plain script of the same libraries.

Question: the budget is exactly 2 of 32 blocks. How good is the front of a search after so many epochs of
training, and how many does the sweeper need for what the plain script has at its end?

    controlled   `budget.mode: controlled`: a falling count leaves 2 blocks open; rank and ramp are searched
    search       `budget.mode: search`, sampler `budget`: lambda and rank are searched
    plain        benchmarks/plain_ray_tune.py: lambda and rank are searched, by TPE through Ray's OptunaSearch

Each way trains 16 trials for each of 5 seeds, one after the other; a seed is that of the sampler and of every
training. Lambda is no setting of a controlled trial, so `method.ramp` has its place: two values are searched
in each way, and the model, the data and the training are the same in all. The sweeper runs as a person runs
it, by `python -m sweeper run`, with its pruning on and without baselines.

Measured: the hypervolume of (ID accuracy, retained accuracy) as fractions, reference point (0, 0), validation
splits, of the complete trials with exactly 2 active blocks so far; 0 while there is none. The x-axis is
counted, not timed: epochs of training spent. A pruned trial costs the epochs it ran, a failed one all epochs.

    python -m benchmarks.front                             # all of it, then benchmarks/results/front.*
    python -m benchmarks.front --only plain --seeds 0 1    # a part; what is in --work is not run again
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from benchmarks._results import CORES, REPOSITORY, run_apart
from benchmarks._trials import RESULTS, markdown
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.front import REFERENCE_POINT
from sweeper.study.records import TrialRecord
from sweeper.study.sweep_study import SweepStudy

SPACE = REPOSITORY / "spaces" / "clip_lambda.yaml"
SEEDS = (0, 1, 2, 3, 4)
TRIALS = 16
EPOCHS = 3
BUDGET = 2  # blocks, exactly
RANK = "method.rank: {choices: [1, 2, 4, 8, 16]}"
SETTINGS = {
    "controlled": (
        f"budget={{active_blocks: {BUDGET}, rule: exactly, mode: controlled}}",
        "search.sampler=tpe",
        f"search.parameters={{method.ramp: {{low: 0.2, high: 0.9}}, {RANK}}}",
    ),
    "search": (
        f"budget={{active_blocks: {BUDGET}, rule: exactly, mode: search}}",
        "search.sampler=budget",
    ),
}
PEER = "plain"
WAYS = (*SETTINGS, PEER)
MEASURES = ("id_accuracy", "forgetting", "retained_accuracy", "active_blocks")
COLUMNS = ("way", "seed", "trial", "state", *MEASURES, "epochs", "inside", "spent", "hypervolume")


@dataclass(frozen=True)
class Run:
    """One way with one seed. Its trials are kept in the folder, under a name that says what they are."""

    way: str
    seed: int
    trials: int
    epochs: int
    work: Path

    @property
    def name(self) -> str:
        return f"{self.way}-{self.trials}x{self.epochs}-seed-{self.seed}"

    @property
    def file(self) -> Path:
        return self.work / f"{self.name}.csv"

    def rows(self) -> pd.DataFrame:
        """A row for each trial in order of completion, trained now if they have not been before."""
        if not self.file.exists():
            print(f"running {self.name}", flush=True)
            (self._train_plain if self.way == PEER else self._train_swept)()
        # The plain script stops no trial early: what it lists has ended.
        known = {"way": self.way, "seed": self.seed, "state": "complete"}
        return pd.DataFrame(known | dict(pd.read_csv(self.file)))

    def _train_plain(self) -> None:
        script = str(REPOSITORY / "benchmarks" / "plain_ray_tune.py")
        asked = ["--trials", str(self.trials), "--seed", str(self.seed), "--out", str(self.file)]
        budget = f"budget={{active_blocks: {BUDGET}, rule: exactly}}"
        self._process([script, *asked, "--set", f"training.epochs={self.epochs}", "--set", budget])

    def _train_swept(self) -> None:
        """By the command line; a sweep that was cut off goes on."""
        folder = self.work / "sweeps" / self.name
        begun = (folder / "sweep.json").exists()
        self._process(["-m", "sweeper", *(["resume", self.name] if begun else self._command())])
        study = SweepStudy(self.name, open_storage(None, folder / "study.journal"))
        ended = [self._row(trial) for trial in study.record().trials]
        pd.DataFrame(ended).to_csv(self.file, index=False)

    def _command(self) -> list[str]:
        settings = (
            *SETTINGS[self.way],
            f"search.trials={self.trials}",
            f"search.seed={self.seed}",
            f"training.seed={self.seed}",
            f"training.epochs={self.epochs}",
            "baselines=[]",
            "confirm=null",
            # One trial at a time; it uses one core.
            f"resources={{cpus_per_trial: {CORES}, pack: 1}}",
        )
        return ["run", str(SPACE), "--name", self.name, *(w for s in settings for w in ("--set", s))]

    def _row(self, trial: TrialRecord) -> dict[str, Any]:
        spent = self.epochs if trial.state == "failed" else int(trial.metrics.get("epoch", 0))
        measures = {name: trial.metrics.get(name, math.nan) for name in MEASURES}
        return {"trial": trial.label, **measures, "epochs": spent, "state": trial.state}

    def _process(self, arguments: Sequence[str]) -> None:
        tracking = f"sqlite:///{self.work}/{self.name}.db"
        log = f"{self.name}.log"
        run_apart(arguments, self.work, log, OMP_NUM_THREADS="1", MLFLOW_TRACKING_URI=tracking)


def with_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a run and, after each trial: whether it is inside the budget, epochs spent, hypervolume."""
    points = rows[["id_accuracy", "retained_accuracy"]] / 100
    inside = (rows["state"] == "complete") & (rows["active_blocks"] == BUDGET) & points.notna().all(axis=1)
    areas = [hypervolume(points[:end][inside[:end]].to_numpy()) for end in range(1, len(rows) + 1)]
    return rows.assign(inside=inside, spent=rows["epochs"].cumsum(), hypervolume=areas)


def hypervolume(points: NDArray[np.float64]) -> float:
    """Share of the unit square that the points, (N, 2), dominate; 0 if there are none."""
    points = np.vstack([REFERENCE_POINT, points])  # which covers nothing
    return float(moocore.hypervolume(points, ref=REFERENCE_POINT, maximise=True))


def epochs_to(run: pd.DataFrame, area: float) -> float:
    """Epochs spent when a hypervolume first was above 0 and at least the area, or infinity."""
    there = run[(run["hypervolume"] > 0) & (run["hypervolume"] >= area)]
    return float(there["spent"].iloc[0]) if len(there) else math.inf


def way_table(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each way: final hypervolume, and what its trials came to."""
    lines = []
    for way in WAYS:
        runs = [run for _, run in table[table["way"] == way].groupby("seed")]
        final = np.array([run["hypervolume"].iloc[-1] for run in runs])
        inside = [int(run["inside"].sum()) for run in runs]
        lines.append(
            {
                "way": way,
                "final hypervolume, median": f"{np.median(final):.4f}",
                "95 % interval": interval(final),
                "runs with none in budget": f"{inside.count(0)} of {len(runs)}",
                "trials in budget": f"{sum(inside)} of {sum(map(len, runs))}",
                "epochs spent, median": f"{np.median([run['spent'].iloc[-1] for run in runs]):g}",
            }
        )
    return pd.DataFrame(lines)


def interval(values: NDArray[np.float64]) -> str:
    """Percentile bootstrap interval of the median, over seeds."""
    if len(values) < 2:
        return "one seed"
    found = bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    return f"{found.low:.4f} to {found.high:.4f}"


def peer_table(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each seed, and their medians: epochs to the plain script's final hypervolume."""
    lines: list[dict[str, Any]] = []
    for seed, runs in table.groupby("seed"):
        plain = runs[runs["way"] == PEER]
        goal, total = plain["hypervolume"].iloc[-1], plain["spent"].iloc[-1]
        line = {"seed": seed, "plain: hypervolume": goal, "plain: epochs": total}
        line["plain: had it after"] = epochs_to(plain, goal)
        for way in SETTINGS:
            needed = epochs_to(runs[runs["way"] == way], goal)
            line |= {f"{way}: epochs": needed, f"{way}: share": needed / total}
        lines.append(line)
    median = {name: statistics.median(line[name] for line in lines) for name in lines[0]} | {"seed": "median"}
    return pd.DataFrame([{name: _shown(name, line[name]) for name in line} for line in [*lines, median]])


def _shown(column: str, value: float | str) -> str:
    if value == math.inf:
        return "not reached"
    kind = column.rpartition(" ")[2]
    return f"{value:{ {'seed': '', 'hypervolume': '.4f', 'share': '.0%'}.get(kind, 'g') }}"


def report(table: pd.DataFrame) -> str:
    """The page of results."""
    seeds, trials = table["seed"].nunique(), table.groupby(["way", "seed"]).size().max()
    return f"""# Front for the epochs spent

Budget: exactly {BUDGET} of 32 blocks of tiny-clip. {seeds} seeds, {trials} trials each, one at a time.
Made by `python -m benchmarks.front`, which says how it is measured.

{_written(way_table(table))}

The interval is a 95 % percentile bootstrap of the median over seeds. The hypervolume counts trials inside the
budget alone, so a run with none has 0.

Epochs of training until the sweeper has what the plain script has at its end, and that as a share of the
epochs that the plain script spent in all (where the plain script has 0: until its first trial in the budget):

{_written(peer_table(table))}

![Hypervolume over epochs](front.png)
"""


def _written(table: pd.DataFrame) -> str:
    return markdown(list(table.columns), table.to_numpy().tolist()).strip()


def plot(table: pd.DataFrame, file: Path) -> None:
    """Median over seeds, and a band from the worst to the best of them: as a whole, and from near the top."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axes, bottom in zip(panels, (-0.02, table["hypervolume"].max() - 0.1), strict=True):
        for colour, way in enumerate(WAYS):
            runs = [run for _, run in table[table["way"] == way].groupby("seed")]
            epochs = np.arange(1 + max(run["spent"].iloc[-1] for run in runs))
            areas = np.array([_at(run, epochs) for run in runs])
            axes.step(epochs, np.median(areas, axis=0), where="post", color=f"C{colour}", label=way)
            band = areas.min(axis=0), areas.max(axis=0)
            axes.fill_between(epochs, *band, step="post", color=f"C{colour}", alpha=0.15, lw=0)
        axes.set_ylim(bottom=bottom)
        axes.set_xlabel("epochs of training spent")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"hypervolume at exactly {BUDGET} active blocks")
    panels[0].legend(frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _at(run: pd.DataFrame, epochs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The run's hypervolume when so many epochs have been spent, (len(epochs),); held after its end."""
    before = np.searchsorted(run["spent"], epochs, side="right")
    return np.concatenate([[0.0], run["hypervolume"]])[before]


def main() -> None:
    parser = argparse.ArgumentParser(description="Hypervolume inside the budget over epochs spent.")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each way, for each seed")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of a trial")
    parser.add_argument("--only", choices=WAYS, help="trains this way and writes no results")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "front_benchmark"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    ways = [options.only] if options.only else WAYS
    runs = [Run(way, seed, options.trials, options.epochs, work) for seed in options.seeds for way in ways]
    table = pd.concat([with_curve(run.rows()) for run in runs], ignore_index=True)
    if options.only:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "front.csv", index=False, columns=list(COLUMNS))
    (options.out / "front.md").write_text(report(table))
    plot(table, options.out / "front.png")
    print(report(table))


if __name__ == "__main__":
    main()
