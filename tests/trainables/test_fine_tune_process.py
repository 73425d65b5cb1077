"""The trainable in processes of Ray Tune, which are killed and hang."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import made_up_probe
import pytest
import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig

from search_spaces import Space
from search_spaces.training import Resources
from trainables import Problem
from trainables.engine import time_limit
from trainables.engine.encoder import Encoder
from trainables.engine.measures import Split
from trainables.fine_tune import FineTune

pytestmark = pytest.mark.slow

MakeSpace = Callable[..., Space]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # No worker can import a test.
    for module in (sys.modules[__name__], made_up_probe):
        ray.cloudpickle.register_pickle_by_value(module)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@dataclass(frozen=True)
class Misfortune(made_up_probe.MadeUpProbe):
    """Happens where the second epoch is measured, once in all processes. Writes down what was measured."""

    happen: Callable[[], object]
    log: Path
    name: str = "misfortune"

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        time_limit.GRACE = 1.0
        with self.log.open("a") as log:
            log.write(f"{os.getpid()} {split}\n")
        if len(self.log.read_text().split("\n")) == 3:
            self.happen()
        return [50.0]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang_in_c() -> None:
    """Takes a year, in which no signal is looked for."""
    sum(range(10**16))


def hang_in_python() -> None:
    time.sleep(600)


@pytest.mark.parametrize(
    "happen, processes, measured, state, reason",
    [
        (kill, 2, ["val", "val", "val", "test"], "complete", None),
        (hang_in_c, 2, ["val", "val", "val", "test"], "complete", None),
        (
            hang_in_python,
            1,
            ["val", "val"],
            "failed",
            "TimeoutError: ran longer than 0.3 minutes (resources.minutes_per_trial)",
        ),
    ],
)
def test_a_trial_outlives_its_process_and_ends_in_time(
    problem: Problem,
    make_space: MakeSpace,
    tmp_path: Path,
    happen: Callable[[], None],
    processes: int,
    measured: list[str],
    state: str,
    reason: str | None,
) -> None:
    """Where the process is lost, another goes on from the checkpoint of the first epoch."""
    reference = {**problem.reference, "probe/misfortune": 60.0, "test/probe/misfortune": 60.0}
    probe = Misfortune(happen, tmp_path / "log")
    unlucky = replace(problem, probes=(*problem.probes, probe))
    space = make_space("lora").model_copy(update={"resources": Resources(minutes_per_trial=0.3)})
    member = {"key": "a", "space": space, "folder": str(tmp_path / "a")}
    (result,) = tune.Tuner(
        tune.with_parameters(FineTune, problem=unlucky, reference=reference),
        param_space={"members": [member]},
        run_config=RunConfig(
            storage_path=str(tmp_path / "tune"),
            verbose=0,
            stop=lambda trial_id, result: result["over"],
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            failure_config=FailureConfig(max_failures=1),
        ),
    ).fit()

    assert result.metrics is not None
    (report,) = result.metrics["members"]
    assert (report["state"], report["reason"]) == (state, reason)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [split for _, split in lines] == measured
    assert len({process for process, _ in lines}) == processes
    if state == "complete":
        assert [metrics["epoch"] for metrics in report["epochs"]] == [1, 2]
