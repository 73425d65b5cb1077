"""A sweep's run through Ray Tune, with trials that train nothing."""

import errno
import gc
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import MlflowClient
from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console

from search_spaces import load_space
from sweeper.driver import faults, runner
from sweeper.driver.cluster import LOCAL, cluster
from sweeper.driver.interrupt import Interruption
from sweeper.driver.runner import Surroundings, train
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import DriverLock
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.tracked import End
from sweeper.tracking.tracker import Tracker
from tests.do_nothing import BLOCKS, REFERENCE, DoNothing, report

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]
SPACE = REPOSITORY / "spaces" / "clip_lambda.yaml"
AROUND = Surroundings(LOCAL, None, Console(quiet=True))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for Ray's workers, where the trials are
    folder = SweepFolder("clip_lambda")
    folder.path.mkdir(parents=True)
    return folder


def make_study(folder: SweepFolder, trials: int, *more: str) -> SweepStudy:
    settings = ["baselines=[]", f"search={{sampler: random, trials: {trials}}}", "resources.pack=1", *more]
    storage = open_storage(None, folder.journal)
    return SweepStudy.create(load_space(SPACE, settings), BLOCKS, REFERENCE, 1, storage)


def test_tune_lets_go_of_what_it_has_trained(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten trials by a Tune that is run anew after every four: each is trained once."""
    monkeypatch.setattr(runner, "PACKS_A_RUN", 4)
    study = make_study(folder, 10)
    tracker = Tracker(study, lambda key: [], print)
    tracker.open()
    with cluster(LOCAL):
        train(study, DoNothing, folder, tracker, AROUND, check=lambda: None)
    tracker.close(study.record(), End("FINISHED"))

    assert [trial.state for trial in study.record().trials] == ["complete"] * 10
    gc.collect()
    assert sum(type(thing) is Trial for thing in gc.get_objects()) <= 4
    client = MlflowClient()
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["key"] for run in runs) == ["sweep", *(f"trial-{n:04d}" for n in range(10))]
    assert {run.info.status for run in runs} == {"FINISHED"}


class Unlucky(DoNothing):
    """Ends its process twice in the first trial and always in the second, and finds a disk full."""

    def setup(self, config: dict[str, Any], log: Path) -> None:
        self.log = log
        super().setup(config)

    def step(self) -> dict[str, Any]:
        key = self.members[0]["key"]
        with self.log.open("a") as log:
            log.write(f"{key}\n")
        tries = Counter(self.log.read_text().split())
        if key == "trial-0001" or (key == "trial-0000" and tries[key] <= 2):
            os.kill(os.getpid(), signal.SIGKILL)
        if key not in ("trial-0000", "trial-0001") and sum(tries.values()) <= 6 + 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/results")
        return super().step()


def test_what_is_tried_again_in_a_sweep(
    folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(faults, "FIRST", 0.5)
    study, console = make_study(folder, 5, "resources.cpus_per_trial=2"), Console(record=True, width=300)
    tracker = Tracker(study, lambda key: [], print)
    tracker.open()
    trainable = tune.with_parameters(Unlucky, log=tmp_path / "log")
    with cluster(LOCAL):
        train(study, trainable, folder, tracker, Surroundings(LOCAL, None, console), check=lambda: None)
    tracker.close(study.record(), End("FINISHED"))
    states = [trial.state for trial in study.record().trials]
    assert states == ["complete", "failed", "complete", "complete", "complete"]
    told = console.export_text()
    assert told.count("paused after 3 faults of a machine in a row: OSError: [Errno 28] No space left") == 1
    assert told.count("goes on: ") == 1
    tries = Counter((tmp_path / "log").read_text().split())
    assert (tries["trial-0000"], tries["trial-0001"]) == (3, 3)


class NoMoreChecks(runner._Watch):
    """Of a sweep whose last look at its lock is behind it."""

    def check(self) -> None:
        """Nothing."""


def test_a_sweep_that_is_lost_when_all_is_trained_is_not_written_down(folder: SweepFolder) -> None:
    study = make_study(folder, 1)
    job = study.next_trial()
    assert job is not None
    study.tell(report(job.key, job.space.dump()["method"]))
    watch = NoMoreChecks(Interruption(), DriverLock())
    watch.lock.lost = "another driver has the sweep"
    with cluster(LOCAL), pytest.raises(UserError, match="another driver has the sweep"):
        runner._run(study, None, folder, AROUND, watch)  # type: ignore[arg-type]
    assert not folder.report.exists()
