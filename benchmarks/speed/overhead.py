"""Which share of a sweep's wall time is neither training nor evaluation, and where does it go?

Aim: under 10 % of the default sweep, spaces/clip_lambda.yaml with 32 trials.

Method: the sweep runs in a process of its own as `python -m sweeper run` runs it, by `runner.start`,
in an empty folder. Nothing in the product knows of the measurement: the functions that runner.py calls one
after the other are wrapped here, and so are those that its trainable calls in the actors. Time before and
after the trials is the driver's. While trials are under way there is room for so many packs side by side, and
what is counted is the time of those places: a second in which one of two trains nothing is half a second of
the sweep. So all parts are seconds of wall time and add up to that of the process; what is missing to it is
the row `unexplained`. Overhead is all but `training` and `evaluation`, which is on validation and test
splits. `no pack left` is that one place waits for the last pack of the other.

What the driver does while packs train costs the sweep only what shows in `between epochs` and `between
packs`; it is listed by itself. The table is that of the round whose share of overhead is the median.

    python -m benchmarks.speed.overhead               # 3 rounds; benchmarks/results/overhead.*
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import ray
from rich.console import Console

from benchmarks._command import command
from benchmarks._results import heading, machine, run_apart, spread, written
from benchmarks._trials import RESULTS
from search_spaces import load_space
from sweeper.driver import runner
from sweeper.driver.cluster import LOCAL, slots
from sweeper.driver.scheduler import SweepScheduler
from sweeper.driver.searcher import PackSearcher
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.tracker import Tracker
from trainables.engine import checkpoint
from trainables.engine.learner import Learner
from trainables.engine.measures import Metrics
from trainables.engine.training import Training
from trainables.fine_tune import FineTune
from trainables.problem import Problem

SPACE = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"
TRIALS, ROUNDS = 32, 3
USEFUL = ("training", "evaluation")
# Starts as sweeper/__main__.py does. As __main__, for actors are sent that, and would import another module.
_CHILD = (
    "import runpy, sweeper.startup as s; s.quick_imports(); "
    "runpy.run_module('benchmarks.speed.overhead', run_name='__main__', alter_sys=True)"
)
_EVENTS = "OVERHEAD_EVENTS"  # the folder in which the actors write down what they do

# What the driver does before and after the trials, in turn.
_DRIVER: Sequence[tuple[Any, str, str]] = (
    (runner, "open_problem", "model and data"),
    (runner, "check_fit", "model and data"),
    (runner, "open_storage", "study"),
    (runner, "check_mlflow", "MLflow opens"),
    (SweepStudy, "create", "study"),
    (ray, "init", "Ray starts"),
    (runner, "known_reference", "reference"),
    (runner, "choose_pack", "choosing the pack"),
    (Tracker, "__init__", "MLflow opens"),
    (Tracker, "open", "MLflow opens"),
    (runner, "write_outcome", "report"),
    (runner, "write_adapter", "adapters of the front"),
    (Tracker, "close", "MLflow's last writes"),
    (ray, "shutdown", "Ray ends"),
)
# What it does while trials are under way.
_BESIDE = (
    (PackSearcher, "suggest", "next packs"),
    (SweepScheduler, "on_trial_add", "starts of packs"),
    (SweepScheduler, "on_trial_result", "reports"),
)
_ACTOR: Sequence[tuple[Any, str, str]] = (
    (Training, "train_epoch", "training"),
    (Learner, "fit_head", "training"),
    (Training, "validate", "evaluation"),
    (Training, "test", "evaluation"),
    (Training, "__init__", "building packs"),
    (checkpoint, "write", "checkpoints"),
    (checkpoint, "read", "checkpoints"),
)
PARTS = (
    *("Python starts", "model and data", "study", "Ray starts", "reference", "choosing the pack"),
    *("MLflow opens", "actors start", "problem to the actors", "building packs", *USEFUL, "checkpoints"),
    *("rest of the steps", "between epochs", "between packs", "no pack left", "report"),
    *("adapters of the front", "MLflow's last writes", "Ray ends", "Python ends"),
)

Event = Mapping[str, Any]
Found = dict[str, Any]


class Clock:
    """Seconds of each part, without those of the parts within it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        self._within.append(0.0)
        try:
            yield
        finally:
            took = time.monotonic() - start
            self.seconds[name] += took - self._within.pop()
            if self._within:
                self._within[-1] += took

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Counts all calls of a function to a part."""
        inner = getattr(owner, name)

        @wraps(inner)
        def counted(*arguments: Any, **named: Any) -> Any:
            with self.part(part):
                return inner(*arguments, **named)

        setattr(owner, name, counted)


class TimedFineTune(FineTune):
    """Trains as `FineTune` does, and writes down when, a line a call."""

    def setup(self, config: dict[str, Any], problem: Problem, reference: Metrics) -> None:
        self._clock = Clock()
        for owner, name, part in _ACTOR:
            self._clock.wrap(owner, name, part)
        self._noted("problem to the actors", partial(super().setup, config, problem, reference))

    def step(self) -> dict[str, Any]:
        result: dict[str, Any] = self._noted("rest of the steps", super().step)
        return result

    def _noted(self, rest: str, call: Callable[[], Any]) -> Any:
        """What the call returns; ``rest`` names the part of its time that no other part has."""
        start, self._clock.seconds = time.monotonic(), defaultdict(float)
        with self._clock.part(rest):
            result = call()
        event = {"start": start, "end": time.monotonic(), "parts": self._clock.seconds}
        event["done"] = result is None or result["over"]
        with Path(os.environ[_EVENTS], f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")
        return result


def place_seconds(actors: Sequence[Sequence[Event]], start: float, end: float) -> dict[str, float]:
    """Seconds of the actors between two times by part, of all together; each actor's events are in order."""
    seconds: dict[str, float] = defaultdict(float)
    for events in actors:
        seconds["actors start"] += events[0]["start"] - start
        seconds["no pack left"] += end - events[-1]["end"]
        for event in events:
            for part, own in event["parts"].items():
                seconds[part] += own
        for before, after in pairwise(events):
            seconds["between packs" if before["done"] else "between epochs"] += after["start"] - before["end"]
    return seconds


def sweep(trials: int, settings: Sequence[str], since: float) -> Found:
    """Runs the sweep in this process, which was started at a time of the monotonic clock."""
    clock, beside, window = Clock(), Clock(), [0.0, 0.0, 0.0]
    clock.seconds["Python starts"] = time.monotonic() - since
    plain_train = runner.train
    for which, wrapped in ((clock, _DRIVER), (beside, _BESIDE)):
        for owner, name, part in wrapped:
            which.wrap(owner, name, part)

    def timed_train(study: Any, *arguments: Any) -> None:
        window[:] = [time.monotonic(), 0.0, slots(study.space)]
        plain_train(study, *arguments)
        window[1] = time.monotonic()

    space = load_space(SPACE, [f"search.trials={trials}", *settings])
    for name, ours in {"train": timed_train, "FineTune": TimedFineTune}.items():
        setattr(runner, name, ours)
    runner.start(space, None, runner.Surroundings(LOCAL, None, Console(quiet=True)))
    start, end, places = window
    files = sorted(Path(os.environ[_EVENTS]).glob("*.jsonl"))
    actors = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    split = place_seconds(actors, start, end)
    parts = clock.seconds | {part: seconds / places for part, seconds in split.items()}
    return {"parts": parts, "beside": beside.seconds, "actors": len(actors), "ended": time.monotonic()}


def measure(trials: int, settings: Sequence[str]) -> Found:
    """One sweep in a process of its own: its wall time in seconds, and its parts."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[_EVENTS] = f"{scratch}/events"
        Path(scratch, "events").mkdir()
        file, began = Path(scratch, "found.json"), time.monotonic()
        asked = ["--child", str(file), str(began), "--trials", str(trials)]
        run_apart(["-c", _CHILD, *asked, *(w for s in settings for w in ("--set", s))], Path(scratch))
        found: Found = json.loads(file.read_text())
        ended = time.monotonic()
    found["seconds"] = ended - began
    found["parts"]["Python ends"] = ended - found.pop("ended")
    return found


def unexplained(found: Found) -> float:
    """Seconds of the sweep's wall time that no part has."""
    return float(found["seconds"] - sum(found["parts"].values()))


def overhead(found: Found) -> float:
    """Share of the sweep's wall time that is neither training nor evaluation."""
    return float(1 - sum(found["parts"].get(part, 0.0) for part in USEFUL) / found["seconds"])


def middle(founds: Sequence[Found]) -> Found:
    """The round with the median share of overhead; of two in the middle, the better one."""
    return sorted(founds, key=overhead)[(len(founds) - 1) // 2]


def part_rows(founds: Sequence[Found]) -> list[dict[str, str]]:
    """A line a part: seconds and share in the middle round, and seconds over all rounds."""
    whole = [{**found["parts"], "unexplained": unexplained(found)} for found in founds]
    shown = middle(founds)
    of_shown = {**shown["parts"], "unexplained": unexplained(shown)}
    rows = [
        {
            "part": part,
            "s": f"{of_shown.get(part, 0.0):.2f}",
            "of the sweep": f"{of_shown.get(part, 0.0) / shown['seconds']:.1%}",
            "over the rounds, s": spread([parts.get(part, 0.0) for parts in whole]),
        }
        for part in (*PARTS, "unexplained")
    ]
    sums = {
        "overhead": [overhead(found) * found["seconds"] for found in founds],
        "whole sweep": [found["seconds"] for found in founds],
    }
    chosen = founds.index(shown)
    for name, seconds in sums.items():
        share = seconds[chosen] / shown["seconds"]
        row = {"part": f"**{name}**", "s": f"{seconds[chosen]:.2f}", "of the sweep": f"{share:.1%}"}
        rows.append(row | {"over the rounds, s": spread(seconds)})
    return rows


def report(founds: Sequence[Found], own: Mapping[str, Any]) -> str:
    """The results as text."""
    shown = middle(founds)
    shares = spread([100 * overhead(found) for found in founds])
    beside = [{"driver": name, "s": f"{seconds:.2f}"} for name, seconds in shown["beside"].items()]
    return "\n".join(
        [
            heading("What of a sweep is neither training nor evaluation", "speed/overhead", own),
            f"Overhead: {shares} % of the sweep's wall time; rounds: {len(founds)}.\n",
            written(part_rows(founds)),
            "What the driver did while trials were under way, beside the actors:\n",
            written(beside),
            "![Parts of the sweep's wall time](overhead.png)\n",
        ]
    )


def plot(founds: Sequence[Found], file: Path) -> None:
    """A bar a part, in percent of the middle round, in the order in which they happen."""
    shown = middle(founds)
    parts = {**shown["parts"], "unexplained": unexplained(shown)}
    names = [*PARTS, "unexplained"]
    shares = [100 * parts.get(name, 0.0) / shown["seconds"] for name in names]
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    bars = axes.barh(names, shares, color=["C0" if name in USEFUL else "C1" for name in names])
    axes.bar_label(bars, [f"{share:.1f}" for share in shares], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"% of the sweep's wall time; overhead (orange) {100 * overhead(shown):.1f} %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    """Runs the rounds, then writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="of the space")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, metavar=("FILE", "SINCE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        file, since = options.child
        Path(file).write_text(json.dumps(sweep(options.trials, options.set, float(since))))
        return
    founds = [measure(options.trials, options.set) for _ in range(options.rounds)]
    own = machine() | {"command": command("speed.overhead")}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "overhead.json").write_text(json.dumps(own | {"rounds": founds}, indent=1) + "\n")
    text = report(founds, own)
    (options.out / "overhead.md").write_text(text)
    plot(founds, options.out / "overhead.png")
    print(text)


if __name__ == "__main__":
    main()
