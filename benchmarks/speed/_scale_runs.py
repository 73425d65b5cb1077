"""What benchmarks/speed/scale.py measures, each in a process of its own, which writes what it found as JSON.

python -m benchmarks.speed._scale_runs sweep --trials 100 --to found.json
"""

import argparse
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import ray
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import create_trial
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console

from search_spaces import Space, load_space
from sweeper.driver.cluster import LOCAL, cluster
from sweeper.driver.progress import sweep_line
from sweeper.driver.runner import Surroundings, train
from sweeper.report import write_report
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy, open_study
from sweeper.tracking.runs import tracking_uri
from sweeper.tracking.tracked import End
from sweeper.tracking.tracker import Tracker
from tests.do_nothing import BLOCKS, REFERENCE, DoNothing, PlainDoNothing, report

SPACE = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"
SAMPLERS = ("random", "tpe", "budget")
RANKS = (1, 2, 4, 8, 16)
DOMAINS = {"lambda": FloatDistribution(0.05, 20, log=True), "rank": CategoricalDistribution(RANKS)}
BUDGET = 2  # blocks, as in the space
PLAIN_OBJECTIVES = {"id_accuracy": "max", "forgetting": "min"}
CORES = os.cpu_count() or 1
SLOTS = 2  # trials at a time, in every way
_WRITES = ("create_run", "log_batch", "log_metric", "log_param", "set_tag", "update_run", "set_terminated")
_SUGGESTIONS = 5

Found = dict[str, Any]


class Mlflow:
    """Counts the writes that go through MLflow's client, and their time; it stands in for nothing."""

    def __init__(self) -> None:
        self.calls, self.seconds, self.ended = 0, 0.0, 0
        for name in _WRITES:
            setattr(MlflowClient, name, self._counted(getattr(MlflowClient, name)))

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return write(*arguments, **named)
            finally:
                self.calls += 1
                self.seconds += time.perf_counter() - start
                self.ended += write.__name__ == "set_terminated"

        return counted


class Watch:
    """Notes at the end of each trial where the driver is.

    That is: seconds since the start, seconds of CPU time, memory in MiB, trials that MLflow is behind.
    """

    def __init__(self, mlflow_writes: Mlflow) -> None:
        self._mlflow = mlflow_writes
        self._start = time.perf_counter()
        self.ended: list[tuple[float, float, float, int]] = []

    def note(self) -> None:
        seconds = time.perf_counter() - self._start
        behind = len(self.ended) + 1 - self._mlflow.ended
        self.ended.append((seconds, time.process_time(), resident(), behind))

    def found(self, lag: float) -> Found:
        """``lag``: seconds that MLflow took longer than the trials."""
        calls = {"mlflow_calls": self._mlflow.calls, "mlflow_seconds": self._mlflow.seconds}
        return {"ended": self.ended, "lag": lag, **calls}


def resident() -> float:
    """Memory of this process, in MiB, as Linux has it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class WatchedStudy(SweepStudy):
    """Has a watch told of every end."""

    watch: Watch

    def tell(self, report: Any) -> None:
        super().tell(report)
        if report["state"] != "running":
            self.watch.note()


def space(name: str, trials: int, sampler: str) -> Space:
    """spaces/clip_lambda.yaml without baselines, one trial a pack."""
    settings = ["baselines=[]", f"search.trials={trials}", f"search.sampler={sampler}", f"sweep={name}"]
    return load_space(SPACE, [*settings, f"resources={{cpus_per_trial: {CORES / SLOTS}, pack: 1}}"])


def sweep(trials: int, storage: str | None) -> Found:
    """A sweep by the sweeper's own parts, from its first trial to the end of its last write."""
    asked = space(f"scale-{trials}-{time.time_ns()}", trials, "random")
    folder = SweepFolder(asked.sweep)
    folder.path.mkdir(parents=True)
    around = Surroundings(LOCAL, storage, Console(quiet=True))
    writes = Mlflow()
    with cluster(LOCAL):
        study = WatchedStudy.create(asked, BLOCKS, REFERENCE, 1, open_storage(storage, folder.journal))
        assert isinstance(study, WatchedStudy)
        tracker = Tracker(study, lambda key: [], around.say)
        tracker.open()
        study.watch = Watch(writes)
        train(study, DoNothing, folder, tracker, around, check=lambda: None)
        start = time.perf_counter()
        tracker.close(study.record(), End("FINISHED"))
        lag = time.perf_counter() - start
    return study.watch.found(lag) | read_again(asked.sweep, storage)


def plain(trials: int) -> Found:
    """The same trials by Ray Tune, OptunaSearch and MLflowLoggerCallback, as their documentation has it."""
    writes = Mlflow()
    watch = Watch(writes)

    class Noted(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            watch.note()

    searcher = OptunaSearch(
        DOMAINS,
        metric=list(PLAIN_OBJECTIVES),
        mode=list(PLAIN_OBJECTIVES.values()),
        sampler=RandomSampler(seed=0),
    )
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    tracker = MLflowLoggerCallback(tracking_uri=tracking_uri(), experiment_name="plain")
    tune.Tuner(
        tune.with_resources(PlainDoNothing, {"cpu": CORES / SLOTS}),
        tune_config=tune.TuneConfig(
            search_alg=searcher, num_samples=trials, max_concurrent_trials=SLOTS, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path("tune").absolute()),
            verbose=0,
            callbacks=[tracker, Noted()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # there is nothing to save
        ),
    ).fit()
    ray.shutdown()
    return watch.found(0.0)


def read_again(name: str, storage: str | None) -> Found:
    """Seconds of what `status` and `report` do, once Python has started; size of the page in bytes."""
    start = time.perf_counter()
    record = open_study(SweepFolder(name), storage).record()
    sweep_line(record)
    opened = time.perf_counter()
    page = write_report(record, SweepFolder(name).report)
    written = time.perf_counter()
    return {"status": opened - start, "report": written - start, "page": page.stat().st_size}


def grown(trials: int) -> Found:
    """A study in a journal that has so many trials: seconds of a suggestion, of `status` and of `report`."""
    found: Found = {}
    for sampler in SAMPLERS:
        asked = space(f"grown-{trials}-{sampler}-{time.time_ns()}", trials + _SUGGESTIONS, sampler)
        folder = SweepFolder(asked.sweep)
        folder.path.mkdir(parents=True)
        storage = open_storage(None, folder.journal)
        study = SweepStudy.create(asked, BLOCKS, REFERENCE, 1, storage)
        fill(optuna.load_study(study_name=asked.sweep, storage=storage), trials)
        found |= read_again(asked.sweep, None)
        seconds = []
        for _ in range(_SUGGESTIONS):
            start = time.perf_counter()
            study.next_trial()
            seconds.append(time.perf_counter() - start)
        found[sampler] = statistics.median(seconds)
    return found


def fill(study: optuna.Study, trials: int) -> None:
    """Adds complete trials at random parameters, as a sweep writes them."""
    chance = random.Random(0)
    for _ in range(trials):
        price, rank = math.exp(chance.uniform(math.log(0.05), math.log(20))), chance.choice(RANKS)
        told = report("", {"lambda": price, "rank": rank})
        trial = create_trial(
            params={"method.lambda": price, "method.rank": rank},
            distributions={f"method.{name}": domain for name, domain in DOMAINS.items()},
            values=[told["metrics"]["id_accuracy"], told["metrics"]["forgetting"]],
            user_attrs={"metrics": told["metrics"], "active": told["active"]},
        )
        trial.set_constraint("budget", max(0.0, told["metrics"]["active_blocks"] - BUDGET))
        study.add_trial(trial)


WAYS: dict[str, Callable[..., Found]] = {"sweep": sweep, "plain": plain, "grown": grown}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--storage", help="of the way sweep")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    arguments = [options.trials, *([options.storage] if options.way == "sweep" else [])]
    options.to.write_text(json.dumps(WAYS[options.way](*arguments)))


if __name__ == "__main__":
    main()
