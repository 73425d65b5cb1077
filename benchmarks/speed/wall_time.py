"""How long does a whole sweep take, beside the plain script that a user would write with the same libraries?

Aim: on two cores the sweeper ends 8 times sooner, at equal results per trial.

    sweeper   `python -m sweeper run spaces/clip_lambda.yaml` as a person starts it, in an empty folder; packs
              are left to `resources.pack: auto`
    plain     benchmarks/plain_ray_tune.py: Ray Tune, OptunaSearch and MLflowLoggerCallback, one process a
              trial, as many side by side as there are cores

Both train as many trials of the same space, for the same epochs, on the same model and data. Both sample at
random, nothing is pruned and there are no baselines, so that neither the proposals nor their pruning differ;
a round's number is the seed of the sampler and of every training. Measured is the wall time of the process
from its start to its end: imports, Ray, the model, the data, the pre-trained model's scores and MLflow are in
it on both sides. The sweeper does more in that time: it measures each trial on the test splits and on four
shifts, keeps a study and checkpoints from which it can go on, and writes a report. The sides alternate.

That both did the same work is shown by the epochs and ranks of their trials. That a trial comes to the same
is shown by training settings of either table again, each alone: what differs is the sweeper's and the plain
script's result from that one. Where the time goes is read from MLflow: trials begin and end there, and log
their seconds of training and validation, which a pack has once for all its members.

    python -m benchmarks.speed.wall_time                       # 16 and 64 trials, 3 rounds
    python -m benchmarks.speed.wall_time --trials 16 --rounds 1   # a part; what is in --work is not run again
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from mlflow import MlflowClient

from benchmarks._command import command
from benchmarks._results import (
    CORES,
    REPOSITORY,
    heading,
    machine,
    run_apart,
    spread,
    written,
)
from benchmarks._trials import RESULTS, Bench

SPACE = REPOSITORY / "spaces" / "clip_lambda.yaml"
SIDES = ("plain", "sweeper")
TRIALS, ROUNDS, CHECKED = (16, 64), 3, 3
PARTS = ("before the first trial", "trials", "after the last trial")
COMPARED = ("id_accuracy", "forgetting")

Found = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """One side's sweep in one round, in a folder of its own.

    Attributes:
        settings: more values of the space, for both sides, as `run --set` takes them.
    """

    side: str
    trials: int
    round: int
    settings: tuple[str, ...]
    work: Path

    @property
    def name(self) -> str:
        return f"{self.side}-{self.trials}-round-{self.round}"

    @property
    def file(self) -> Path:
        return self.work / f"{self.name}.json"

    def found(self) -> Found:
        """Its times and trials, measured now if they have not been before with the same settings."""
        if self.file.exists():
            known: Found = json.loads(self.file.read_text())
            if known["settings"] == list(self.settings):
                return known
        print(f"running {self.name}", flush=True)
        folder = self.work / self.name
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut off
        folder.mkdir(parents=True)
        began = time.time()
        run_apart(self._command(folder), folder)
        found = {"seconds": time.time() - began, "settings": list(self.settings)}
        found["rows"] = [row | {"began": row["began"] - began} for row in trial_rows(folder / "mlflow.db")]
        self.keep(found)
        return found

    def keep(self, found: Found) -> None:
        self.file.write_text(json.dumps(found, indent=1))

    def _command(self, folder: Path) -> list[str]:
        seed = str(self.round)
        if self.side == "plain":
            script = str(REPOSITORY / "benchmarks" / "plain_ray_tune.py")
            asked = ["--trials", str(self.trials), "--seed", seed, "--sampler", "random"]
            written = ["--out", f"{folder}/plain.csv", "--mlflow", f"sqlite:///{folder}/mlflow.db"]
            return [script, *asked, "--at-once", str(CORES), *written, *_set(self.settings)]
        own = ("baselines=[]", f"search.trials={self.trials}", "search.sampler=random", "search.prune=false")
        seeds = (f"search.seed={seed}", f"training.seed={seed}")
        return ["-m", "sweeper", "run", str(SPACE), *_set([*own, *seeds, *self.settings])]


def _set(settings: Iterable[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def trial_rows(database: Path) -> list[Found]:
    """What MLflow has of each trial, the same for both sides: settings, results and times in seconds.

    ``began`` is a time of day; ``busy`` is seconds of training and validation of the trial, or of its pack.
    """
    client = MlflowClient(f"sqlite:///{database}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = [run for run in client.search_runs(experiments) if run.data.tags.get("role", "trial") == "trial"]
    return [_trial_row(client, run) for run in sorted(runs, key=lambda run: run.info.start_time)]


def _trial_row(client: MlflowClient, run: Any) -> Found:
    swept = "role" in run.data.tags
    before, metrics = "method." if swept else "", run.data.metrics
    history = [metric.value for metric in client.get_metric_history(run.info.run_id, "seconds")]
    return {
        "lambda": float(run.data.params[f"{before}lambda"]),
        "rank": int(run.data.params[f"{before}rank"]),
        **{name: metrics[name] for name in COMPARED},
        "epochs": metrics["epoch"],
        # The sweeper's trials count their seconds on; those of the plain script are of each epoch.
        "busy": max(history) if swept else sum(history),
        "began": run.info.start_time / 1000,
        "took": (run.info.end_time - run.info.start_time) / 1000,
    }


def parts(found: Found) -> dict[str, float]:
    """Seconds of a sweep before, while and after trials are under way; together its wall time."""
    first = min(row["began"] for row in found["rows"])
    last = max(row["began"] + row["took"] for row in found["rows"])
    return dict(zip(PARTS, (first, last - first, found["seconds"] - last), strict=True))


def packs(found: Found) -> list[float]:
    """Seconds of training and validation of each pack: its members have counted the same seconds."""
    return sorted({row["busy"] for row in found["rows"]})


def check(bench: Bench, found: Found, seed: int) -> list[Found]:
    """Settings of a few trials, spread over lambda, trained again alone: by how much the results differ."""
    ranked = sorted(found["rows"], key=lambda row: float(row["lambda"]))
    chosen = {round(place * (len(ranked) - 1) / max(1, CHECKED - 1)) for place in range(CHECKED)}
    checked = []
    for row in (ranked[place] for place in sorted(chosen)):
        values = {"method.lambda": row["lambda"], "method.rank": row["rank"], "training.seed": seed}
        alone = bench.train([bench.space.with_values(values)])[0]
        differences = {name: abs(row[name] - alone[name]) for name in COMPARED}
        checked.append({"lambda": row["lambda"], "rank": row["rank"], **differences})
    return checked


def times_row(trials: int, rounds: Sequence[Mapping[str, Found]]) -> dict[str, str]:
    """A line on how much sooner the sweeper ends."""
    ratios = [found["plain"]["seconds"] / found["sweeper"]["seconds"] for found in rounds]
    seconds = {f"{side}, s": spread([found[side]["seconds"] for found in rounds]) for side in SIDES}
    return {"trials": str(trials), **seconds, "plain / sweeper": spread(ratios), "rounds": str(len(rounds))}


def work_row(trials: int, side: str, founds: Sequence[Found]) -> dict[str, str]:
    """A line on what a side's trials were, and where its time went; means over the rounds."""
    rows = [row for found in founds for row in found["rows"]]
    split = {part: statistics.mean(parts(found)[part] for found in founds) for part in PARTS}
    busy = statistics.mean(sum(packs(found)) for found in founds)
    return {
        "trials": str(trials),
        "side": side,
        "epochs a trial": f"{statistics.mean(row['epochs'] for row in rows):.2f}",
        "mean rank": f"{statistics.mean(row['rank'] for row in rows):.1f}",
        "trials a pack": f"{len(rows) / sum(len(packs(found)) for found in founds):.1f}",
        **{f"{part}, s": f"{seconds:.1f}" for part, seconds in split.items()},
        "training and validation, core-s": f"{busy:.1f}",
        "of the cores' time with trials": f"{busy / (CORES * split['trials']):.0%}",
    }


def check_row(trials: int, side: str, checked: Sequence[Found]) -> dict[str, str]:
    """A line on how equal the results are."""
    largest = {f"largest difference of {n}, pp": f"{max(c[n] for c in checked):.4f}" for n in COMPARED}
    return {"trials": str(trials), "side": side, "settings trained again": str(len(checked)), **largest}


Measured = dict[int, list[dict[str, Found]]]


def report(measured: Measured, own: Mapping[str, Any]) -> str:
    """The results as text."""
    pairs = [(trials, side, rounds) for trials, rounds in measured.items() for side in SIDES]
    work = [work_row(trials, side, [found[side] for found in rounds]) for trials, side, rounds in pairs]
    checks = [check_row(trials, side, rounds[0][side]["checked"]) for trials, side, rounds in pairs]
    return "\n".join(
        [
            heading("Wall time of a whole sweep, beside a plain script", "speed/wall_time", own),
            "Median of the rounds, with the least and the most:\n",
            written(times_row(trials, rounds) for trials, rounds in measured.items()),
            "The work of both, and where their time went:\n",
            written(work),
            "Trials of either table, trained again alone:\n",
            written(checks),
            "![Wall time of both sides](wall_time.png)\n",
        ]
    )


def plot(measured: Measured, file: Path) -> None:
    """Stacked parts of each side's wall time, means over the rounds, with every round as a point."""
    figure, panels = plt.subplots(1, len(measured), figsize=(1 + 4 * len(measured), 4), layout="constrained")
    for axes, (trials, rounds) in zip(
        [panels] if len(measured) == 1 else panels, measured.items(), strict=True
    ):
        below = [0.0, 0.0]
        for part in PARTS:
            heights = [statistics.mean(parts(found[side])[part] for found in rounds) for side in SIDES]
            axes.bar(SIDES, heights, bottom=below, width=0.6, label=part)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        for side in SIDES:
            axes.plot([side] * len(rounds), [found[side]["seconds"] for found in rounds], "k.", zorder=3)
        axes.set_title(f"{trials} trials: {times_row(trials, rounds)['plain / sweeper']} x", loc="left")
        axes.set_ylabel("wall time, s")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def measure(sizes: Sequence[int], rounds: int, settings: tuple[str, ...], work: Path) -> Measured:
    """Every size in every round by both sides, the other first in every other round."""
    measured: Measured = {trials: [{} for _ in range(rounds)] for trials in sizes}
    for number, trials in ((number, trials) for number in range(rounds) for trials in sizes):
        for side in SIDES[:: 1 if number % 2 == 0 else -1]:
            measured[trials][number][side] = Sweep(side, trials, number, settings, work).found()
    _check_all(measured, settings, work)
    return measured


def _check_all(measured: Measured, settings: tuple[str, ...], work: Path) -> None:
    """Trials of the first round are trained again, where they have not been before."""
    unchecked = [
        (Sweep(side, trials, 0, settings, work), rounds[0][side])
        for trials, rounds in measured.items()
        for side in SIDES
        if "checked" not in rounds[0][side]
    ]
    bench = Bench.open(SPACE, 1, "baselines=[]", *settings) if unchecked else None
    for sweep, found in unchecked:
        assert bench is not None
        print(f"checking {sweep.name}", flush=True)
        found["checked"] = check(bench, found, seed=sweep.round)
        sweep.keep(found)


def main() -> None:
    """Measures what is missing, then writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS, help="of each sweep")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="a value for both")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "wall_time_benchmark"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    measured = measure(options.trials, options.rounds, tuple(options.set), options.work.absolute())
    own = machine() | {"command": command("speed.wall_time")}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "wall_time.json").write_text(json.dumps(own | {"sweeps": measured}, indent=1) + "\n")
    text = report(measured, own)
    (options.out / "wall_time.md").write_text(text)
    plot(measured, options.out / "wall_time.png")
    print(text)


if __name__ == "__main__":
    main()
