"""Who may ask a service, how often and how much."""

import time
from collections.abc import Iterator

import pytest
from conftest import Make
from prepared import SPACE

from sweeper.errors import UserError
from sweeper.service.guard import Buckets
from sweeper.service.settings import Settings
from sweeper.study.sweep_study import SweepStudy

TOKEN = "a-long-random-word"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
PROTECTED = [
    ("GET", "/sweeps"),
    ("GET", "/sweeps/clip_lambda"),
    ("GET", "/sweeps/clip_lambda/front"),
    ("GET", "/sweeps/clip_lambda/report"),
    ("GET", "/sweeps/clip_lambda/report/trials.csv"),
    ("GET", "/sweeps/clip_lambda/trials.csv"),
    ("GET", "/sweeps/clip_lambda/logs"),
    ("POST", "/sweeps"),
    ("POST", "/sweeps/clip_lambda/resume"),
    ("DELETE", "/sweeps/clip_lambda"),
]
WRONG = [
    {},
    {"Authorization": ""},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": "Bearer ü".encode()},
    {"Cookie": f"sweeper={TOKEN}"},
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_route_on_sweeps_asks_for_the_token(
    method: str, path: str, sweep: SweepStudy, service: Make
) -> None:
    client = service(token=TOKEN, burst=1000)
    for headers in WRONG:
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), headers
        assert "token" in answer.json()["detail"] and TOKEN not in answer.text
    assert client.request(method, path, headers=RIGHT).status_code != 401


@pytest.mark.parametrize("path", ["/", "/health", "/docs", "/openapi.json", "/static/script.js"])
def test_what_holds_no_sweep_is_open(path: str, sweep: SweepStudy, service: Make) -> None:
    answer = service(token=TOKEN).get(path)
    assert answer.status_code == 200
    assert "clip_lambda:" not in answer.text and TOKEN not in answer.text
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"].partition("style-src")[0]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_reached_by_way_of_an_open_path(sweep: SweepStudy, service: Make) -> None:
    client = service(token=TOKEN)
    for path in (
        "/static/..%2fsweeps",
        "/static/%2e%2e/sweeps",
        "/health/%2e%2e/sweeps",
        "http://127.0.0.1//sweeps",
    ):
        answer = client.get(path)
        assert answer.status_code in (401, 404) and "clip_lambda" not in answer.text


def test_a_browser_signs_in_for_reading_alone(sweep: SweepStudy, service: Make) -> None:
    client = service(token=TOKEN)
    assert client.post("/login", json={"token": "guess"}).status_code == 401
    assert client.get("/sweeps").status_code == 401
    answer = client.post("/login", json={"token": TOKEN})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert client.get("/sweeps").status_code == 200
    assert client.get("/sweeps/clip_lambda/report").status_code == 200
    assert client.post("/sweeps/clip_lambda/resume").status_code == 401
    assert client.delete("/sweeps/clip_lambda").status_code == 401


@pytest.mark.parametrize("said", [True, False], ids=["its length is said", "in pieces"])
@pytest.mark.parametrize("path", ["/sweeps", "/sweeps/clip_lambda/resume", "/login"])
def test_a_large_body_is_refused(path: str, said: bool, sweep: SweepStudy, service: Make) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"#" * 1000

    content = b"#" * 100_000 if said else pieces()
    headers = {"Content-Type": "application/yaml" if path == "/sweeps" else "application/json"}
    answer = service().post(path, content=content, headers=headers)
    assert answer.status_code == 413
    assert answer.json() == {"detail": "the body is larger than 65536 bytes, so not a space file"}


def test_a_client_that_asks_too_often_is_told_to_wait(service: Make) -> None:
    client = service(rate=2.0, burst=5)
    statuses = [client.get("/health").status_code for _ in range(8)]
    assert statuses[:5] == [200] * 5 and statuses[-1] == 429
    refused = client.get("/health")
    assert refused.headers["retry-after"] == "1" and "2 requests a second" in refused.json()["detail"]
    time.sleep(1.0)
    assert client.get("/health").status_code == 200


def test_clients_have_buckets_of_their_own_and_the_oldest_are_forgotten() -> None:
    buckets = Buckets(rate=0.001, burst=1)
    assert buckets.wait("first") == 0.0
    assert buckets.wait("first") == pytest.approx(1000.0, rel=0.01)
    assert all(buckets.wait(str(number)) == 0.0 for number in range(10_000))
    assert buckets.wait("first") == 0.0


def test_a_page_of_another_site_can_change_nothing(sweep: SweepStudy, service: Make) -> None:
    client = service()
    other = {"Origin": "http://elsewhere.example", "Content-Type": "text/plain"}
    for answer in (
        client.post("/sweeps", content=SPACE.read_bytes(), headers=other),
        client.post("/sweeps/clip_lambda/resume", headers=other),
        client.delete("/sweeps/clip_lambda", headers={"Origin": "null"}),
    ):
        assert answer.status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert client.delete("/sweeps/clip_lambda", headers=own).status_code == 503  # no Ray here


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "[2001:db8::1]:80"])
def test_without_a_token_only_loopback_is_answered(host: str, sweep: SweepStudy, service: Make) -> None:
    assert service().get("/sweeps", headers={"Host": host}).status_code in (400, 403)
    assert service(token=TOKEN).get("/sweeps", headers={"Host": host, **RIGHT}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "head.example"])
def test_no_service_is_open_to_the_network_without_a_token(host: str) -> None:
    with pytest.raises(UserError, match="set SWEEPER_TOKEN"):
        Settings().check_host(host)
    Settings(token=TOKEN).check_host(host)
    for loopback in ("127.0.0.1", "::1", "localhost"):
        Settings().check_host(loopback)
