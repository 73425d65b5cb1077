"""A working directory with a sweep in it, a service on it, and a real Ray head."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prepared import free_port, served, study

from sweeper import cli
from sweeper.service.app import create_app
from sweeper.service.settings import Settings
from sweeper.study.sweep_study import SweepStudy

TOKEN = "a-long-random-word"
Make = Callable[..., TestClient]
Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and an environment that leads nowhere else: no Ray answers."""
    monkeypatch.chdir(tmp_path)
    for name in ("SWEEPER_STORAGE", "SWEEPER_TOKEN", "SWEEPER_SERVER", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{free_port()}")
    return tmp_path


@pytest.fixture
def sweep(place: Path) -> SweepStudy:
    """The study `clip_lambda`, which a test may go on with."""
    return study()


@pytest.fixture
def service(place: Path) -> Make:
    """Makes a client of a service with the settings."""

    def make(**settings: object) -> TestClient:
        return TestClient(create_app(Settings(**settings)), base_url="http://127.0.0.1")  # type: ignore[arg-type]

    return make


@pytest.fixture
def server(sweep: SweepStudy, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service with a token, which this process knows."""
    with served(create_app(Settings(token=TOKEN))) as address:
        monkeypatch.setenv("SWEEPER_TOKEN", TOKEN)
        monkeypatch.setenv("COLUMNS", "200")
        yield address


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command; its exit status and all that it has said."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["sweeper", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real Ray head on which one driver may run; the environment that leads to it."""
    port = free_port()
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32, "OMP_NUM_THREADS": "1"}
    leave = ("RAY_ADDRESS", "SWEEPER_STORAGE", "SWEEPER_SERVER")
    environment = {name: value for name, value in os.environ.items() if name not in leave} | access
    arguments = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0"]
    arguments += [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    arguments += ["--num-cpus=0", '--resources={"driver": 1}', "--disable-usage-stats"]
    # The path of a Unix socket has room for 107 characters, of which Ray needs most itself.
    with (
        tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as short,
        (tmp_path_factory.mktemp("head") / "log").open("w") as log,
    ):
        arguments += [f"--temp-dir={short}", "--object-store-memory=80000000"]
        process = subprocess.Popen(
            arguments, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _await_agent(f"http://127.0.0.1:{port}", access["RAY_AUTH_TOKEN"], process)
            yield {"RAY_ADDRESS": f"http://127.0.0.1:{port}", **access}
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                _kill_group(process.pid)


def _await_agent(address: str, token: str, process: "subprocess.Popen[bytes]") -> None:
    """Waits until the head takes jobs."""
    request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "the head does not start"
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
