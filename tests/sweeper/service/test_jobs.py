"""Sweeps as jobs of a real Ray head: queued, stopped, failed, killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from prepared import SPACE, free_port, study

pytestmark = pytest.mark.slow

SECRETS = {"SWEEPER_TOKEN": "secret-token", "MLFLOW_TRACKING_URI": "http://me:secret-word@127.0.0.1:9"}
YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service and its drivers work."""
    return tmp_path_factory.mktemp("home with a space")


@pytest.fixture(scope="module")
def client(head: dict[str, str], home: Path) -> Iterator[httpx.Client]:
    """A client of `sweeper serve` beside the head."""
    port = free_port()
    arguments = [sys.executable, "-m", "sweeper", "serve", "--port", str(port)]
    environment = {**os.environ, **head, **SECRETS}
    with subprocess.Popen(arguments, cwd=home, env=environment, start_new_session=True) as server:
        headers = {"Authorization": f"Bearer {SECRETS['SWEEPER_TOKEN']}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as asking:
            _await(asking, server)
            yield asking
        server.terminate()


def _await(asking: httpx.Client, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while True:
        assert server.poll() is None and time.monotonic() < deadline, "the service does not start"
        try:
            asking.get("/health").raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.5)


def submit(client: httpx.Client, name: str, change: tuple[str, str] = ("", "")) -> Any:
    text = SPACE.read_text().replace("sweep: clip_lambda", f"sweep: {name}").replace(*change)
    return client.post("/sweeps", content=text, headers=YAML)


def shown(client: httpx.Client, name: str) -> dict[str, Any]:
    answer = client.get(f"/sweeps/{name}")
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def wait(client: httpx.Client, name: str, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while not ready(sweep := shown(client, name)):
        assert time.monotonic() < deadline, sweep
        time.sleep(1)
    return sweep


def reaches(*states: str) -> Callable[[dict[str, Any]], bool]:
    return lambda sweep: sweep["state"] in states


def driver(name: str) -> int | None:
    """The process that runs a sweep's space."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[1:4] == [b"-m", b"sweeper", b"run"] and command[4].endswith(f"/{name}.yaml".encode()):
            return int(folder.name)
    return None


def resumed(name: str) -> list[str] | None:
    """What the process that goes on with a sweep was given."""
    given = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return next((line[5:] for line in given if line[1:5] == ["-m", "sweeper", "resume", name]), None)


def test_one_driver_runs_and_the_next_waits_until_it_is_stopped(client: httpx.Client) -> None:
    answer = submit(client, "first")
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/sweeps/first"
    assert answer.json()["job"] == "first-1"
    wait(client, "first", reaches("running"))
    assert submit(client, "second").json()["state"] == "queued"
    again = submit(client, "second")
    assert again.status_code == 409 and "resume second" in again.json()["detail"]
    listed = [line["name"] for line in client.get("/sweeps").json()["sweeps"]]
    assert {"first", "second"} <= set(listed) and listed == sorted(listed)
    assert client.get("/sweeps/first/front").json()["detail"].startswith("sweep 'first' has not begun yet")
    for name in ("second", "first"):
        assert client.delete(f"/sweeps/{name}").status_code == 202
        sweep = wait(client, name, reaches("stopped", "failed", "interrupted"))
        assert (sweep["state"], sweep["message"]) == ("stopped", "stopped; it can be resumed")
        assert client.delete(f"/sweeps/{name}").status_code == 409
    log = client.get("/sweeps/first/logs", params={"job": "first-1"})
    assert "-m sweeper run" in log.text
    assert client.get("/sweeps/first/logs", params={"offset": 5}).text == log.text[5:]
    assert client.get("/sweeps/first/logs", params={"job": "second-1"}).status_code == 404


def test_a_driver_that_refuses_its_space_says_why_and_can_be_replaced(client: httpx.Client) -> None:
    line = next(line for line in SPACE.read_text().splitlines() if line.startswith("  id:"))
    change = (line, "  id: {source: folder, path: /nowhere}")
    assert submit(client, "bad", change).status_code == 201
    sweep = wait(client, "bad", reaches("failed", "finished", "interrupted"))
    assert (sweep["state"], sweep["message"]) == ("failed", "data.id.path: no such folder: /nowhere")
    assert submit(client, "bad").json()["job"] == "bad-2"
    client.delete("/sweeps/bad")
    wait(client, "bad", reaches("stopped"))


def test_a_driver_that_was_killed_is_interrupted_and_can_go_on(client: httpx.Client) -> None:
    submit(client, "killed")
    wait(client, "killed", lambda sweep: driver("killed") is not None)
    process = driver("killed")
    assert process is not None
    os.kill(process, signal.SIGKILL)
    sweep = wait(client, "killed", reaches("interrupted", "failed", "stopped"))
    assert sweep["state"] == "interrupted" and "can be resumed" in sweep["message"]
    answer = client.post("/sweeps/killed/resume", json={"trials": 3})
    assert answer.status_code == 202 and answer.json()["job"] == "killed-2"
    assert client.post("/sweeps/killed/resume").status_code == 409
    assert client.delete("/sweeps/killed").status_code == 202
    wait(client, "killed", reaches("stopped"))


def test_a_sweep_that_was_begun_elsewhere_goes_on_here(
    client: httpx.Client, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    study("elsewhere", trials=8)
    few = client.post("/sweeps/elsewhere/resume", json={"trials": 2})
    assert few.status_code == 422 and "has started 6 already" in few.json()["detail"]
    for wrong in ({"trials": 0}, {"trails": 9}, [], "x"):
        assert client.post("/sweeps/elsewhere/resume", json=wrong).status_code == 422
    for setting, reason in (("training.lr=1", "cannot be changed"), ("resources.pack=x", "resources.pack")):
        refused = client.post("/sweeps/elsewhere/resume", json={"settings": [setting]})
        assert refused.status_code == 422 and reason in refused.json()["detail"]
    more = {"trials": 9, "retry_failed": True, "settings": ["resources.cpus_per_trial=1"]}
    assert client.post("/sweeps/elsewhere/resume", json=more).json()["job"] == "elsewhere-1"
    wait(client, "elsewhere", lambda sweep: resumed("elsewhere") is not None)
    asked = ["--trials", "9", "--retry-failed", "--set", "resources.cpus_per_trial=1"]
    assert resumed("elsewhere") == asked
    client.delete("/sweeps/elsewhere")
    wait(client, "elsewhere", reaches("stopped"))


def test_no_secret_is_kept_with_a_job(client: httpx.Client, head: dict[str, str]) -> None:
    assert submit(client, "quiet").status_code == 201
    access = {"Authorization": f"Bearer {head['RAY_AUTH_TOKEN']}"}
    (job,) = (
        job
        for job in httpx.get(f"{head['RAY_ADDRESS']}/api/jobs/", headers=access, timeout=60).json()
        if job["submission_id"] == "quiet-1"
    )
    assert job["metadata"]["sweep"] == "quiet" and "secret" not in repr(job)
    client.delete("/sweeps/quiet")
    wait(client, "quiet", reaches("stopped"))
