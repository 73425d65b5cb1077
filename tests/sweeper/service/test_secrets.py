"""Planted secrets, looked for in all that the service and what it starts say and show.

One service is started as a person starts it, alone on the machine; a space is then pasted into its page.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prepared import free_port

pytestmark = pytest.mark.slow

PLANTED = "planted-secret"
ANN, EVE = f"{PLANTED}-of-ann-1", f"{PLANTED}-of-eve-1"
SPACE = """
sweep: NAME
model: {library: open_clip, name: tiny-clip, pretrained: bundled}
data:
  id: {source: digits, limit: 60}
  probes: [{source: glyphs, score: zero_shot, limit: 60}]
method: {name: selective_lora}
training: {epochs: 1, batch_size: 30, lr: 2.0e-3}
budget: {active_blocks: 32}
search: {sampler: tpe, trials: 2, parameters: {method.lambda: {low: 0.01, high: 10, log: true}}}
resources: {pack: 1}
"""
ID = "{source: digits, limit: 60}"
YAML = {"Content-Type": "application/yaml"}


@dataclass(frozen=True)
class Served:
    """A service that was started by one command."""

    address: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    def client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=240)

    @property
    def said(self) -> str:
        return (self.folder / "said.log").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`python -m sweeper serve`, and nothing else."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    (folder / "tokens").write_text(f"ann submit {ANN}\neve read {EVE}\n")
    away = (
        "RAY_ADDRESS",
        "RAY_API_SERVER_ADDRESS",
        "SWEEPER_STORAGE",
        "SWEEPER_SERVER",
        "MLFLOW_TRACKING_URI",
    )
    kept = {name: value for name, value in os.environ.items() if name not in away}
    environment = kept | {
        "SWEEPER_TOKEN": f"{PLANTED}-of-the-admin",
        "SWEEPER_TOKENS_FILE": str(folder / "tokens"),
        "POSTGRES_URL": f"postgresql://me:{PLANTED}@host/db",
        "AWS_SECRET_ACCESS_KEY": PLANTED,
        "SWEEPER_DATA": str(folder / f"data-{PLANTED}"),
        "SWEEPER_MOST_SWEEPS": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "sweeper", "serve", "--port", str(port)]
    with (folder / "said.log").open("w") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    served = Served(f"http://127.0.0.1:{port}", folder, process)
    try:
        _await(served)
        yield served
    finally:
        folder_of_ray = head_of(served).partition("--temp-dir=")[2].split()[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
    assert not [command for command in commands().values() if folder_of_ray in command]


def _await(served: Served) -> None:
    deadline = time.monotonic() + 240
    while "serving at" not in served.said:
        assert served.process.poll() is None and time.monotonic() < deadline, served.said
        time.sleep(0.5)


def commands() -> dict[int, str]:
    """The command line of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def head_of(served: Served) -> str:
    """The command line of Ray's head, a child of the service."""
    process = served.process.pid
    (child,) = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return commands()[int(child)]


def wait(client: httpx.Client, name: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 300
    while (sweep := client.get(f"/sweeps/{name}").json())["state"] not in states:
        assert time.monotonic() < deadline, sweep
        time.sleep(1)
    value: dict[str, Any] = sweep
    return value


def everything(client: httpx.Client) -> str:
    """All that can be read, in one text."""
    parts = [client.get(path).text for path in ("/", "/docs", "/openapi.json", "/me", "/sweeps", "/health")]
    for sweep in client.get("/sweeps").json()["sweeps"]:
        for rest in ("", "/logs", "/front", "/trials.csv", "/report"):
            parts.append(client.get(f"/sweeps/{sweep['name']}{rest}").text)
    return "\n".join(parts)


def test_a_space_pasted_into_the_page_gives_a_front(service: Served, browser: Any) -> None:
    page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
    page.set_default_timeout(150_000)
    page.goto(service.address)
    page.locator("#token").fill(ANN)
    page.keyboard.press("Enter")
    page.locator("#text").fill(SPACE.replace("trials: 2", "trials: 0"))
    page.locator("#check").click()
    page.locator("#told.wrong", has_text="search.trials: must be at least 1").wait_for()
    page.locator("#text").fill(SPACE.replace("NAME", "pasted"))
    page.locator("#check").click()
    page.locator("#told.sound", has_text="budget: at most 32 of 32 blocks").wait_for()
    page.locator("#space button[type=submit]").click()
    page.locator("h2#name", has_text="pasted").wait_for()
    page.locator("#front tbody tr").first.wait_for()
    page.locator("#plot .points path").first.wait_for(state="attached")
    page.locator("#line", has_text="finished").wait_for()
    page.locator("#trials").fill("200")
    page.locator("#go-on button").click()
    page.locator("#line", has_text="/200 done").wait_for()
    page.locator("#stop").click()
    page.locator("#line", has_text="stopped").wait_for()
    assert PLANTED not in page.content()
    page.context.close()
    lines = [json.loads(line) for line in service.said.splitlines() if line.startswith("{")]
    changes = [(line["who"], line["what"], line["sweep"], line["job"]) for line in lines]
    assert changes[:3] == [
        ("ann", "submit", "pasted", "pasted-1"),
        ("ann", "resume", "pasted", "pasted-2"),
        ("ann", "stop", "pasted", "pasted-2"),
    ]


ASKING = {
    "url": ('{source: folder, path: "${POSTGRES_URL}"}', "data.id.path: ${POSTGRES_URL} is not expanded"),
    "data": (
        '{source: folder, path: "${SWEEPER_DATA}/x"}',
        "data.id.path: no such folder: ${SWEEPER_DATA}/x",
    ),
    "names": ('{source: digits, classes: "${SWEEPER_TOKEN}"}', "data.id.classes: ${SWEEPER_TOKEN} is not"),
}


def test_a_space_tells_nothing_of_the_environment(service: Served) -> None:
    """By the check, by a driver's log and by its state; the page shows the same."""
    spaces = {name: SPACE.replace("NAME", name).replace(ID, source) for name, (source, _) in ASKING.items()}
    with service.client(f"{PLANTED}-of-the-admin") as client:
        for text in spaces.values():
            assert client.post("/sweeps", content=text, headers=YAML).status_code == 201
        checked = client.post("/check", content=spaces["data"], headers=YAML)
        assert ASKING["data"][1] in checked.json()["text"] and PLANTED not in checked.text
        for name, (_, message) in ASKING.items():
            assert message in wait(client, name, "failed")["message"]


def listening(served: Served) -> set[tuple[str, str]]:
    """The addresses on which the service, Ray and all drivers and trials listen, and who does."""
    found = set()
    service = psutil.Process(served.process.pid)
    for process in [service, *service.children(recursive=True)]:
        try:
            command = " ".join(process.cmdline())[:200]
            sockets = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        found |= {(one.laddr.ip, command) for one in sockets if one.status == psutil.CONN_LISTEN}
    return found


def test_nothing_that_is_started_listens_beyond_this_machine(service: Served) -> None:
    with service.client(f"{PLANTED}-of-the-admin") as admin:
        space = SPACE.replace("NAME", "heard").replace("trials: 2", "trials: 500")
        assert admin.post("/sweeps", content=space, headers=YAML).status_code == 201
        deadline = time.monotonic() + 240
        while not (admin.get("/sweeps/heard").json()["counts"] or {"done": 0})["done"]:
            assert time.monotonic() < deadline, admin.get("/sweeps/heard/logs").text
            time.sleep(1)
        heard = listening(service)
        admin.delete("/sweeps/heard")
        wait(admin, "heard", "stopped")
    assert all(any(part in command for _, command in heard) for part in ("gcs_server", "raylet", "Agent"))
    assert {address for address, _ in heard} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, heard


def test_a_person_has_one_sweep_under_way_where_that_is_the_bound(service: Served) -> None:
    with service.client(ANN) as ann, service.client(f"{PLANTED}-of-the-admin") as admin:
        long = SPACE.replace("trials: 2", "trials: 500")
        assert ann.post("/sweeps", content=long.replace("NAME", "one"), headers=YAML).status_code == 201
        more = ann.post("/sweeps", content=long.replace("NAME", "two"), headers=YAML)
        assert more.status_code == 409 and "you have 1 sweeps under way (one)" in more.json()["detail"]
        assert admin.post("/sweeps", content=long.replace("NAME", "three"), headers=YAML).status_code == 201
        assert ann.delete("/sweeps/three").status_code == 403
        found = {line["name"]: line["owner"] for line in ann.get("/sweeps").json()["sweeps"]}
        assert found["one"] == "ann" and found["three"] == "admin" and "two" not in found
        wait(ann, "one", "running")
        assert not [line for line in commands().values() if PLANTED in line and "pytest" not in line]
        for name in ("one", "three"):
            assert admin.delete(f"/sweeps/{name}").status_code == 202
            wait(admin, name, "stopped")


def test_nothing_that_was_said_or_kept_has_a_secret(service: Served) -> None:
    with service.client(EVE) as eve:
        assert PLANTED not in everything(eve)
    assert PLANTED not in service.said
    for file in (service.folder / "service").rglob("*"):
        assert not file.is_file() or PLANTED.encode() not in file.read_bytes(), file
    for file in (service.folder / "sweeps").rglob("*"):
        assert not file.is_file() or PLANTED.encode() not in file.read_bytes(), file
    # Ray's own description of every job, as `ray job list` shows it.
    port = head_of(service).partition("--dashboard-port=")[2].split()[0]
    assert httpx.get(f"http://127.0.0.1:{port}/api/jobs/", timeout=60).status_code == 401
