"""What is said of a sweep whose driver waits, never began, or keeps its study elsewhere."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Make
from fastapi.testclient import TestClient
from prepared import end, served, study
from starlette.websockets import WebSocketDisconnect

from sweeper.service.app import create_app
from sweeper.service.jobs import Job
from sweeper.service.models import State
from sweeper.service.settings import Settings
from sweeper.service.store import Store
from sweeper.service.views import state, waiting
from sweeper.study.sweep_study import SweepStudy

# As Ray 2.60 says it, after RAY_JOB_START_TIMEOUT_SECONDS.
TIMEOUT = (
    "Job supervisor actor failed to start within 900.0 seconds. This timeout can be configured by setting "
    "the environment variable RAY_JOB_START_TIMEOUT_SECONDS. This may be because the job entrypoint's "
    "specified resources (entrypoint_num_cpus, ...) aren't available on the cluster."
)


def job(status: str, exit_code: int | None = None, message: str = "") -> Job:
    return Job("x-1", "x", status, message, exit_code, since=1000.0)


def test_what_ray_says_of_a_driver_that_never_began_is_shown() -> None:
    found, message = state(None, [job("FAILED", message=TIMEOUT)])
    assert found is State.INTERRUPTED and message is not None
    assert TIMEOUT[:100] in message and message.endswith("it can be resumed")


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 3)])
def test_a_driver_that_came_to_its_end_elsewhere_is_no_interruption(status: str, code: int) -> None:
    assert state(None, [job(status, code)], "its study is in X") == (State.FINISHED, "its study is in X")
    found, message = state(None, [job(status, code)])
    assert found is State.FINISHED and message == "its driver has ended, and no study of it is found here"


def test_what_a_driver_waits_for() -> None:
    assert waiting(job("PENDING"), 0, 1005.0) == "waits until its driver has started"
    assert waiting(job("PENDING"), 1, 9000.0) == "waits until the driver that runs has ended"
    assert waiting(job("PENDING"), 4, 9000.0) == "waits until one of the 4 drivers that run has ended"
    assert "--resources '{\"driver\": 4}'" in waiting(job("PENDING"), 0, 1100.0)


def test_where_the_study_is_kept_and_looked_for_is_said_without_passwords(place: Path) -> None:
    theirs, ours = f"sqlite:///{place}/theirs.db", "postgresql+psycopg://me:planted-secret@127.0.0.1:9/ours"
    study("one", url=theirs)
    assert Store(ours).elsewhere("one") == (
        f"its driver keeps the study in {theirs}, this service looks in postgresql+psycopg://me:***@127.0.0.1:9"
        "/ours: start Ray's head and the service with one SWEEPER_STORAGE"
    )
    assert Store(theirs).elsewhere("one") is None
    assert "looks in the journals in ./sweeps" in str(Store(None).elsewhere("one"))


def test_health_is_answered_while_many_reports_are_asked_for(sweep: SweepStudy) -> None:
    with served(create_app(Settings(rate=1e6, burst=1_000))) as address, ThreadPoolExecutor(60) as pool:
        end(sweep, 85.0, 4.0, 2)
        limits = httpx.Limits(max_connections=100)
        with httpx.Client(base_url=address, timeout=120, limits=limits) as client:
            reports = [pool.submit(client.get, "/sweeps/clip_lambda/report") for _ in range(60)]
            slowest = 0.0
            while not all(report.done() for report in reports):
                began = time.monotonic()
                assert client.get("/health").status_code == 200
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.02)
        assert {report.result().status_code for report in reports} == {200}
        assert slowest < 1.5


@pytest.mark.parametrize("trusted", [True, False])
def test_what_a_proxy_says_of_a_client_is_believed_of_named_ones_alone(trusted: bool, service: Make) -> None:
    """As `serve` sets up its server."""
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    app = create_app(Settings(token="a-long-random-word", rate=0.001, burst=1))
    behind = ProxyHeadersMiddleware(app, "10.0.0.0/8" if trusted else "")
    client = TestClient(behind, base_url="http://127.0.0.1", client=("10.1.2.3", 1))
    statuses = []
    for number in range(3):
        said = {"X-Forwarded-For": f"192.0.2.{number}", "X-Forwarded-Proto": "https"}
        statuses.append(client.post("/login", json={"token": "a-long-random-word"}, headers=said))
    assert [answer.status_code for answer in statuses] == ([204] * 3 if trusted else [204, 429, 429])
    assert ("Secure" in statuses[0].headers["set-cookie"]) is trusted


def test_a_websocket_is_closed_before_anything_sees_it() -> None:
    client = TestClient(create_app(Settings(token="a-long-random-word")))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/sweeps"):
        pass
