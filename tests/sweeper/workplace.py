"""A working directory in which the command line is used as a person would."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SMALL = (
    "training.epochs=2",
    "training.batch_size=64",
    "data.ood=[{source: digits, shift: inverted}]",
    "resources.pack=1",
)


@dataclass(frozen=True)
class Workplace:
    """A working directory."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what would lead a sweep elsewhere."""
        away = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "SWEEPER_STORAGE")
        return {name: value for name, value in os.environ.items() if name not in away}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command under way; it has a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def sweeper(self, *arguments: str, status: int = 0) -> str:
        """A command's output, once it has ended with the status."""
        with self.start(*arguments) as process:
            try:
                output = process.communicate(timeout=400)[0]
            finally:
                process.kill()
        assert process.returncode == status, output
        return output

    def run(self, *overrides: str, status: int = 0, name: str = "clip_lambda") -> str:
        """A small sweep, run to its end."""
        return self.sweeper(*run_arguments(*overrides, name=name), status=status)


def run_arguments(*overrides: str, name: str = "clip_lambda") -> list[str]:
    """The command line of a small sweep."""
    space = str(REPOSITORY / "spaces" / "clip_lambda.yaml")
    sets = [argument for override in (*SMALL, *overrides) for argument in ("--set", override)]
    return ["run", space, "--name", name, *sets]
