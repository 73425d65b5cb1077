"""The API, as a script uses it: a sweep from another thread, in a folder that is not the working one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from workplace import REPOSITORY, SMALL, Workplace

from search_spaces import SpaceError, load_space
from sweeper import Sweep, UserError, load, resume, run

SPACE = REPOSITORY / "spaces" / "clip_lambda.yaml"
FEW = (
    *SMALL,
    "search={sampler: grid, trials: 1, parameters: {training.lr: {choices: [1e-3, 4e-3]}}}",
    "budget={active_blocks: 32}",
    "baselines=[linear]",
)


@pytest.fixture(scope="module", autouse=True)
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty one, with no tracking server and no cluster named."""
    away = ("RAY_ADDRESS", "SWEEPER_STORAGE", "SWEEPER_RESULTS", "MLFLOW_TRACKING_URI")
    kept = {name: value for name, value in os.environ.items() if name not in away}
    here = tmp_path_factory.mktemp("here")
    with contextlib.chdir(here), mock.patch.dict(os.environ, {**kept, "OMP_NUM_THREADS": "1"}, clear=True):
        yield here


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, working_folder: Path) -> Path:
    """Where one trial and a baseline have run, begun from a thread that is not the main one."""
    folder = tmp_path_factory.mktemp("home")
    space = load_space(SPACE, FEW)
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(run, space, name="mine", folder=folder, quiet=True).result()
    assert signal.getsignal(signal.SIGTERM) is before
    return folder


@pytest.mark.slow
def test_a_sweep_from_a_thread_is_kept_where_it_is_told(home: Path, working_folder: Path) -> None:
    assert {"sweeps", "mlflow.db", "mlruns"} == {path.name for path in home.iterdir()}
    assert list(working_folder.iterdir()) == []
    assert "mine: 2/2 done" in Workplace(home).sweeper("status", "mine")


@pytest.mark.slow
def test_frames_and_plot_hold_what_the_report_does(home: Path) -> None:
    sweep = load("mine", folder=home)
    page = sweep.report()
    assert page == home / "sweeps" / "mine" / "report" / "index.html" and page.exists()
    written = pd.read_parquet(page.with_name("trials.parquet"))
    pd.testing.assert_frame_equal(sweep.trials, written)
    front = json.loads(page.with_name("front.json").read_text())
    assert list(sweep.front.key) == [trial["key"] for trial in front["front"]]
    assert sweep.best is not None and sweep.best.key == front["knee"]
    figure = sweep.plot()
    assert isinstance(figure, go.Figure)
    (drawn,) = (trace for trace in figure.data if trace.name == "front")
    assert sorted(drawn.y) == sorted(sweep.front.id_accuracy)


@pytest.mark.slow
def test_a_model_is_taken_away_to_a_folder_relative_to_the_working_one(home: Path, tmp_path: Path) -> None:
    sweep = load("mine", folder=home)
    with contextlib.chdir(tmp_path):
        chosen = sweep.export("winner", format="adapter", trial=0)
    card = json.loads((tmp_path / "winner" / "adapter.json").read_text())
    assert card["metrics"] == pytest.approx(chosen.metrics)
    with pytest.raises(UserError, match=r"--to .*winner: it is in use"):
        sweep.export(tmp_path / "winner")
    with pytest.raises(UserError, match="--trial 7: there is none; there are 0, linear"):
        sweep.export(tmp_path / "other", trial=7)
    with pytest.raises(UserError, match="--format onnx: there is none; there are"):
        sweep.export(tmp_path / "other", format="onnx")


@pytest.mark.slow
def test_a_sweep_goes_on_and_an_open_one_sees_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = load("mine", folder=home)
    resumed = resume("mine", trials=2, folder=os.path.relpath(home))
    assert isinstance(resumed, Sweep)
    assert list(resumed.trials.query("role == 'trial'").state) == ["complete", "complete"]
    assert repr(opened) == repr(resumed)
    said = capsys.readouterr()
    assert said.out.count("trial-0001") == 1
    assert "Warning" not in said.err


def test_mistakes_are_raised_with_the_words_of_the_command_line(tmp_path: Path) -> None:
    space = yaml.safe_load(SPACE.read_text())
    with pytest.raises(SpaceError, match=r"^search\.smapler: unknown key; did you mean 'sampler'\?$"):
        run({**space, "search": {**space["search"], "smapler": "tpe"}})
    with pytest.raises(SpaceError, match=r"^--set search\.trials=no: search\.trials: "):
        run(space, overrides=["search.trials=no"])
    with pytest.raises(SpaceError, match=r"space\.yaml: no such file"):
        run(tmp_path / "space.yaml")
    with pytest.raises(SpaceError, match="expects a space or a mapping of its sections, got a list"):
        run([space])  # type: ignore[arg-type]
    for ask in (load, resume):
        with pytest.raises(UserError, match=f"there is no sweep 'nowhere' in {tmp_path}/sweeps"):
            ask("nowhere", folder=tmp_path)


def test_the_package_is_light_until_it_is_used() -> None:
    script = "import sys, sweeper; print({'torch', 'ray', 'optuna', 'pandas', 'mlflow'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
