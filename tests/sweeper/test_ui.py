"""Comparing the trials of a sweep in the MLflow UI, as a person does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from workplace import Workplace

from sweeper.tracking.runs import views

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(finished: Workplace) -> Iterator[str]:
    """`sweeper ui` on the finished sweep, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with finished.start("ui", "--port", str(port)) as server:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 300
        while not _answers(url):
            assert server.poll() is None and time.monotonic() < deadline, "the UI does not start"
            time.sleep(0.5)
        yield url
        os.killpg(server.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_compare_view_shows_what_was_searched_and_measured(
    finished: Workplace, address: str, browser: Any
) -> None:
    client = MlflowClient(f"sqlite:///{finished.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    trials = client.search_runs([experiment.experiment_id], "tags.role = 'trial' and tags.state = 'complete'")
    runs = json.dumps([run.info.run_id for run in trials])
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f'{address}/#/compare-runs?runs={runs}&experiments=["{experiment.experiment_id}"]')
    page.get_by_text(f"Comparing {len(trials)} Runs from 1 Experiment").wait_for(timeout=60_000)
    page.locator(".js-plotly-plot svg").first.wait_for(timeout=60_000)
    shown = page.inner_text("body")
    assert "training.lr" in shown and "id_accuracy" in shown
    page.close()


def test_it_opens_on_the_runs_of_a_sweep_with_the_columns_of_a_comparison(
    finished: Workplace, address: str, browser: Any
) -> None:
    where = views(f"sqlite:///{finished.folder}/mlflow.db")["clip_lambda"]
    page = browser.new_page(viewport={"width": 1900, "height": 1000})
    page.goto(address + where)
    page.get_by_text("baseline-linear").first.wait_for(timeout=60_000)
    headers = page.locator("[role=columnheader]").all_inner_texts()
    for name in ("id_accuracy", "forgetting", "active_blocks", "training.lr", "front"):
        assert any(name in header for header in headers), headers
    assert "Error loading shared view state" not in page.inner_text("body")
    page.close()


def test_a_password_of_the_database_is_neither_on_a_command_line_nor_printed(tmp_path: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "postgresql://me:planted-secret@127.0.0.1:9/mlflow"}
    with (tmp_path / "said").open("w") as said:
        ui = subprocess.Popen(
            [sys.executable, "-m", "sweeper", "ui", "--port", "1"],
            env=environment, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 120
    try:
        while "could not be created" not in (tmp_path / "said").read_text():
            assert ui.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        command = Path(f"/proc/{ui.pid}/cmdline").read_text()
    finally:
        os.killpg(ui.pid, signal.SIGKILL)
        ui.wait()
    assert "mlflow" in command and "planted-secret" not in command + (tmp_path / "said").read_text()
