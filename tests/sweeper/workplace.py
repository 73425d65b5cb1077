"""A working directory in which the command line is used as a person would."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from sweeper import cli

REPOSITORY = Path(__file__).parents[2]
SMALL = (
    "training.epochs=2",
    "training.batch_size=64",
    "data.id.limit=300",
    "data.ood=[{source: digits, shift: inverted, limit: 100}]",
    "data.probes=[{source: glyphs, limit: 100, score: zero_shot}]",
    "resources.pack=1",
    "resources.max_parallel=1",
)
FINISHED = (
    "search={sampler: grid, trials: 3, parameters: {training.lr: {choices: [1e-3, 1e+30, 4e-3]}}}",
    "budget={active_blocks: 32}",
    "baselines=[zero_shot, linear]",
)


@dataclass(frozen=True)
class Workplace:
    """A working directory with an MLflow database of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what would lead a sweep elsewhere."""
        away = ("RAY_ADDRESS", "SWEEPER_STORAGE")
        here = {name: value for name, value in os.environ.items() if name not in away}
        return here | {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db", "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command in a process of its own, which leads a process group."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # As in a terminal, also where the tests themselves run with SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def sweeper(self, *arguments: str, status: int = 0) -> str:
        """A command's output, once it has ended with the status. Run in this process, which saves imports."""
        output = io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", ["sweeper", *arguments]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            try:
                cli.main()
            except SystemExit as end:
                ended = end.code or 0
        assert ended == status, output.getvalue()
        return output.getvalue()

    def run(self, *overrides: str, status: int = 0) -> str:
        """A small sweep, run to its end."""
        return self.sweeper(*run_arguments(*overrides), status=status)


def run_arguments(*overrides: str) -> list[str]:
    """The command line of a small sweep."""
    space = str(REPOSITORY / "spaces" / "clip_lambda.yaml")
    sets = [argument for override in (*SMALL, *overrides) for argument in ("--set", override)]
    return ["run", space, *sets]


def trials(place: Workplace, name: str = "clip_lambda") -> pd.DataFrame:
    frame = pd.read_csv(place.folder / "sweeps" / name / "report" / "trials.csv").set_index("key")
    return frame.drop(columns="seconds", errors="ignore")


def runs(place: Workplace, name: str = "clip_lambda") -> list[Run]:
    client = MlflowClient(f"sqlite:///{place.folder}/mlflow.db")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))
