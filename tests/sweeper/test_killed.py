"""A driver that is killed and stopped again and again loses nothing; benchmarks/soak.py does it for hours."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from workplace import Workplace, run_arguments, runs, trials

from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

TRIALS = 5
STOPS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL)

# One trial at a time, so that what the sampler proposes does not hang on which of two ends first.
SEQUENCE = (f"search.trials={TRIALS}", "resources.cpus_per_trial=2", "baselines=[linear]")

# Trials of three methods, each with what only it has.
METHODS = (
    *SEQUENCE,
    "search.sampler=tpe",
    "budget={active_fraction: 1}",
    "search.parameters={method.rank: {choices: [1, 4]},"
    " method.name: {choices: [selective_lora, lora, codyra]},"
    " method.lambda: {low: 0.1, high: 1, log: true, when: {method.name: selective_lora}},"
    " method.kappa: {low: 1.0e-4, high: 0.1, log: true, when: {method.name: codyra}}}",
)

# Imports once what every driver needs, and forks a driver for each command line that it reads.
_NURSERY = """
import os, sys
import sweeper.driver.runner
from sweeper import cli
for line in sys.stdin:
    log, *arguments = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.argv = ["sweeper", *arguments]
        try:
            cli.main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
        except BaseException:
            __import__("traceback").print_exc()
        os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Nursery:
    """A process that forks drivers in a working directory, one after the other."""

    process: subprocess.Popen[str]
    place: Workplace

    @property
    def log(self) -> Path:
        return self.place.folder / "drivers.log"

    def start(self, *arguments: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("\t".join([str(self.log), *arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def ended(self) -> int:
        """The exit status of the driver, once it has ended."""
        return self._answer()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def nursery(folder: Path) -> Iterator[Nursery]:
    folder.mkdir()
    place = Workplace(folder)
    with subprocess.Popen(
        [sys.executable, "-c", _NURSERY],
        cwd=folder,
        env=place.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Nursery(process, place)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "stops"), [(SEQUENCE, STOPS), (METHODS, STOPS[1:4])], ids=["one method", "three methods"]
)
def test_a_driver_that_is_killed_and_stopped_ends_as_if_undisturbed(
    settings: tuple[str, ...], stops: tuple[signal.Signals, ...], tmp_path: Path
) -> None:
    with nursery(tmp_path / "undisturbed") as calm:
        calm.start(*run_arguments(*settings))
        assert calm.ended() in (0, 3), calm.log.read_text()

    moments = random.Random(1)
    with nursery(tmp_path / "killed") as killed:
        journal = killed.place.folder / "sweeps" / "clip_lambda" / "study.journal"
        arguments = run_arguments(*settings)
        for stop in stops:
            before = written(journal)
            driver = killed.start(*arguments)
            # In lines of the journal, so that a slow machine stops at the same places.
            wait_for(journal, before + moments.randint(0, 6), driver)
            time.sleep(moments.uniform(0, 0.3))
            if stop == signal.SIGINT:  # Ctrl-C reaches every process of the terminal, a kill only the driver
                os.killpg(driver, stop)
                assert killed.ended() == 130, killed.log.read_text()
                assert "python -m sweeper resume clip_lambda" in killed.log.read_text()
            else:
                os.kill(driver, stop)
                assert killed.ended() == -stop, killed.log.read_text()
            if journal.exists() and SweepStudy.exists("clip_lambda", open_storage(None, journal)):
                arguments = ["resume", "clip_lambda"]
        killed.start("resume", "clip_lambda")
        assert killed.ended() in (0, 3), killed.log.read_text()
        assert "Traceback" not in killed.log.read_text()

    pd.testing.assert_frame_equal(trials(killed.place), trials(calm.place))
    keys = ["baseline-linear", "sweep", *(f"trial-{n:04d}" for n in range(TRIALS))]
    found = Counter(run.data.tags["key"] for run in runs(killed.place))
    assert found == Counter(keys)
    assert steps(killed.place) == steps(calm.place)
    assert {run.info.status for run in runs(killed.place)} == {"FINISHED"}


def steps(place: Workplace) -> dict[str, list[int]]:
    """The epochs that MLflow has of each run."""
    client = MlflowClient(f"sqlite:///{place.folder}/mlflow.db")
    return {
        run.data.tags["key"]: [p.step for p in client.get_metric_history(run.info.run_id, "id_accuracy")]
        for run in runs(place)
    }


def written(journal: Path) -> int:
    """Lines of a journal."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for(journal: Path, lines: int, driver: int) -> None:
    deadline = time.monotonic() + 200
    while written(journal) < lines:
        assert time.monotonic() < deadline, "the sweep does not go on"
        os.kill(driver, 0)
        time.sleep(0.02)
