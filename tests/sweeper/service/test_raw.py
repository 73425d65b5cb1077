"""What an attacker sends over a socket: no answer is a server's error, and none gives or changes anything."""

import json
import socket
from collections.abc import Iterator

import pytest
from prepared import served, study

from sweeper.service.app import create_app
from sweeper.service.settings import Settings

TOKEN = "a-long-random-word"
LINES = [
    "GET /sweeps HTTP/1.1",
    "GET /sweeps/clip_lambda/logs HTTP/1.1",
    "DELETE /sweeps/clip_lambda HTTP/1.1",
    "POST /sweeps/clip_lambda/resume HTTP/1.1",
    "GET //sweeps HTTP/1.1",
    "GET /static//sweeps HTTP/1.1",
    "GET /static/../sweeps HTTP/1.1",
    "GET /static/%2e%2e/sweeps HTTP/1.1",
    "GET /static%2f..%2fsweeps HTTP/1.1",
    "GET /sweeps/ HTTP/1.1",
    "GET /sweeps%2fclip_lambda HTTP/1.1",
    "GET /sweeps?/static/ HTTP/1.1",
    "GET /sweeps#/static/ HTTP/1.1",
    "GET /sweeps;/static/ HTTP/1.1",
    "GET /%ff%00 HTTP/1.1",
    "GET http://x/static/../sweeps HTTP/1.1",
    "GET http://127.0.0.1/sweeps HTTP/1.1",
    "GET http://127.0.0.1//static//sweeps HTTP/1.1",
    "DELETE http://x/static/sweeps/clip_lambda HTTP/1.1",
    "HEAD /sweeps HTTP/1.1",
    "HEAD /sweeps/clip_lambda HTTP/1.1",
    "OPTIONS /sweeps HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "TRACE /sweeps HTTP/1.1",
    "CONNECT 127.0.0.1:80 HTTP/1.1",
    "PUT /sweeps/clip_lambda HTTP/1.1",
    "get /sweeps HTTP/1.1",
    "GET /sweeps HTTP/1.0",
]
HOSTS = [
    "127.0.0.1",
    "x/static/",
    "[",
    "[::1",
    "x\\static",
    "a@b",
    "x?y",
    "x#y",
    "x:99999999",
    "é",
    "",
    "a b",
]
EXTRA = [
    "",
    "Origin: http://[",
    "Origin: http://127.0.0.1",
    "Cookie: sweeper=",
    "Cookie: sweeper=é; sweeper",
    "Authorization: Bearer",
    "Authorization: Bearer é",
    "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https",
    "X-Forwarded-Host: x/static/",
    "X-HTTP-Method-Override: GET",
    "Host: 127.0.0.1",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
    "Sec-WebSocket-Version: 13",
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("raw")
    url = f"sqlite:///{folder}/studies.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study(url=url)
        app = create_app(Settings(storage=url, token=TOKEN, rate=1e6, burst=1_000_000))
    with served(app) as address:
        yield int(address.rpartition(":")[2])


def ask(port: int, *lines: str) -> tuple[int, bytes]:
    """The status and all that is answered; 0 where the connection is closed without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


@pytest.mark.parametrize("line", LINES)
def test_without_a_token_nothing_is_read_or_changed(line: str, port: int) -> None:
    for host in HOSTS:
        for extra in EXTRA if host in HOSTS[:2] else EXTRA[:1]:
            status, answer = ask(port, line, f"Host: {host}", *([extra] if extra else []))
            assert status < 500 and status not in (200, 202, 204, 304), (line, host, extra, answer)
            assert b"clip_lambda:" not in answer and b"location:" not in answer.lower(), (line, host, extra)


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "", "http://x\\", "é"])
def test_an_origin_that_is_none_is_another_sites(origin: str, port: int) -> None:
    right = f"Authorization: Bearer {TOKEN}"
    for line in ("DELETE /sweeps/clip_lambda HTTP/1.1", "POST /login HTTP/1.1"):
        status, answer = ask(port, line, "Host: 127.0.0.1", right, f"Origin: {origin}")
        assert status == 403, answer


@pytest.mark.parametrize("host", HOSTS[1:])
def test_a_host_that_is_none_is_refused_also_on_open_paths(host: str, port: int) -> None:
    for path in ("/", "/health", "/docs"):
        status, answer = ask(port, f"GET {path} HTTP/1.1", f"Host: {host}")
        assert status == 400, answer


def test_a_good_request_is_answered(port: int) -> None:
    status, answer = ask(port, "GET /sweeps HTTP/1.1", "Host: x.example:80", f"Authorization: Bearer {TOKEN}")
    assert status == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["sweeps"][0]["name"] == "clip_lambda"
