"""Sweeps that are stopped and killed, and go on."""

import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from workplace import Workplace, run_arguments, runs, trials

pytestmark = pytest.mark.slow

# One trial at a time, so that what the sampler proposes does not hang on which of two ends first.
SEQUENCE = (
    "search.trials=3",
    "resources.cpus_per_trial=2",
    "baselines=[linear]",
    "budget={active_blocks: 32}",
)


def test_a_sweep_that_is_stopped_and_killed_again_and_again_ends_as_if_undisturbed(tmp_path: Path) -> None:
    undisturbed, killed = Workplace(tmp_path / "undisturbed"), Workplace(tmp_path / "killed")
    for place in (undisturbed, killed):
        place.folder.mkdir()
    undisturbed.run(*SEQUENCE)

    moments = random.Random(0)
    arguments = run_arguments(*SEQUENCE)
    for stop in (signal.SIGINT, signal.SIGKILL):
        process = killed.start(*arguments)
        wait_for_trials(killed, moments.uniform(1, 8))
        # Ctrl-C reaches every process of the terminal, a kill only the driver.
        (os.killpg if stop == signal.SIGINT else os.kill)(process.pid, stop)
        output = process.communicate(timeout=120)[0]
        if stop == signal.SIGINT:
            assert process.returncode == 130, output
            assert "python -m sweeper resume clip_lambda" in output and "Traceback" not in output
        arguments = ["resume", "clip_lambda"]
    killed.sweeper("resume", "clip_lambda")

    pd.testing.assert_frame_equal(trials(killed), trials(undisturbed))
    found = [run.data.tags["key"] for run in runs(killed)]
    assert sorted(found) == ["baseline-linear", "sweep", *(f"trial-000{n}" for n in range(3))]
    client = MlflowClient(f"sqlite:///{killed.folder}/mlflow.db")
    for run in runs(killed):
        assert run.info.status == "FINISHED"
        if run.data.tags["role"] == "trial":
            history = client.get_metric_history(run.info.run_id, "id_accuracy")
            assert [point.step for point in history] == [1, 2]


def wait_for_trials(place: Workplace, seconds: float) -> None:
    """Waits until something new is in the study, then so many seconds more."""
    journal = place.folder / "sweeps" / "clip_lambda" / "study.journal"
    before = journal.stat().st_size if journal.exists() else 0
    deadline = time.monotonic() + 200
    while not (journal.exists() and journal.stat().st_size > before):
        assert time.monotonic() < deadline, "no trial got under way"
        time.sleep(0.1)
    time.sleep(seconds)
