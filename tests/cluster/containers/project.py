"""The compose project that is checked: a name, secrets and volumes of its own, removed at the end."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[3]
NAME = "sweeper-containers"
IMAGE = "selective-lora-sweeper:containers"
SERVICE = "http://127.0.0.1:8080"
WORKERS = 2


class Project:
    """`docker compose` with an .env file of its own, in a folder where backups go.

    Attributes:
        secrets: those planted in the .env file, by name. Wherever one is seen, it has leaked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN", "SWEEPER_TOKEN")
        self.secrets = {name: f"planted{secrets.token_hex(24)}" for name in names}
        given = self.secrets | {
            "WORKERS": str(WORKERS),
            "WORKER_CPUS": "1",
            "RAY_OBJECT_STORE_MEMORY": "200000000",
            "RAY_SHM_SIZE": "512m",
            "SWEEPER_IMAGE": IMAGE,
            "SWEEPER_DATA": str(folder),
        }
        file = folder / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        # As for a person in the repository's folder with an .env: commands need no options.
        self._environment = os.environ | {
            "COMPOSE_PROJECT_NAME": NAME,
            "COMPOSE_FILE": str(REPOSITORY / "docker-compose.yml"),
            "COMPOSE_ENV_FILES": str(file),
            "COMPOSE_PROGRESS": "quiet",
        }

    def shell(self, *lines: str) -> str:
        """Runs lines of a shell, to the first that fails; what they print.

        Raises:
            SystemExit: one failed; with what it printed.
        """
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"containers: rc {done.returncode} of {lines}\n{done.stdout[-3000:]}")
        return done.stdout

    def up(self) -> None:
        """Starts what is not there; waits until every part is healthy."""
        self.shell("docker compose up --detach --wait --wait-timeout 600")

    def restart(self, part: str) -> None:
        """Kills one container of a part, as a crash would, starts it again and waits until all is healthy."""
        container = self.containers(part)[0]
        self.shell(f"docker kill {container}", f"docker start {container}")
        self.wait(lambda: self.all_healthy(), f"not all parts are healthy after {part} was killed", 600)

    def containers(self, part: str = "") -> list[str]:
        """The names of the project's containers, or of a part's."""
        return self.shell(f"docker compose ps --all --format '{{{{.Name}}}}' {part}").split()

    def all_healthy(self) -> bool:
        """Whether every container's health check passes."""
        inspected = json.loads(self.shell(f"docker inspect {' '.join(self.containers())}"))
        states = [container["State"].get("Health", {}).get("Status") for container in inspected]
        return len(states) == 4 + WORKERS and set(states) == {"healthy"}

    def ask(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """An answer of the service."""
        token = {"Authorization": f"Bearer {self.secrets['SWEEPER_TOKEN']}"}
        answer = httpx.request(method, f"{SERVICE}{path}", headers=token, timeout=60, **more)
        if answer.is_error:
            raise SystemExit(f"containers: {method} {path}: {answer.status_code} {answer.text}")
        return answer

    def wait(self, reached: Callable[[], bool], otherwise: str, seconds: float) -> None:
        """Waits until something holds.

        Raises:
            SystemExit: it took longer than it may.
        """
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                raise SystemExit(f"containers: after {seconds:.0f} s {otherwise}")
            time.sleep(1)

    def sweeper(self, *arguments: str) -> str:
        """The command line of this machine, as a person uses it against the service."""
        environment = {"SWEEPER_TOKEN": self.secrets["SWEEPER_TOKEN"], "PATH": os.environ["PATH"]}
        python = str(REPOSITORY / ".venv" / "bin" / "python")
        command: Sequence[str] = [python, "-m", "sweeper", *arguments, "--server", SERVICE]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"containers: {arguments}: {done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def project(folder: Path) -> Iterator[Project]:
    """A project whose containers, volumes and networks are removed at the end."""
    made = Project(folder)
    try:
        yield made
    finally:
        made.shell("docker compose down --volumes --remove-orphans --timeout 5")
