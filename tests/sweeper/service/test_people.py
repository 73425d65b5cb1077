"""What each kind of token may do, and whose a sweep is."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Make
from fastapi.testclient import TestClient
from prepared import SPACE, study

from sweeper.errors import UserError
from sweeper.service.app import create_app
from sweeper.service.owners import Owners
from sweeper.service.people import Person, Role, read_tokens
from sweeper.service.settings import Settings

ADMIN = "the-token-of-the-admin"
TOKENS = {
    "the-token-of-ann-1": Person("ann", Role.SUBMIT),
    "the-token-of-bob-1": Person("bob", Role.SUBMIT),
    "the-token-of-eve-1": Person("eve", Role.READ),
}
ANN, BOB, EVE = ({"Authorization": f"Bearer {token}"} for token in TOKENS)
RIGHT, WRONG = ({"Authorization": f"Bearer {token}"} for token in (ADMIN, f"{ADMIN}x"))
KINDS = {"none": {}, "wrong": WRONG, "read": EVE, "submit": BOB, "admin": RIGHT}
#: Routes that hold no sweep, and so ask for nothing.
OPEN = {("GET", "/health")}
READING = ("GET", "HEAD")


def routes() -> Iterator[tuple[str, str]]:
    for path, operations in create_app(Settings()).openapi()["paths"].items():
        for method in operations:
            yield method.upper(), path


@pytest.fixture
def client(service: Make, place: Path) -> TestClient:
    """A service with all kinds of tokens, and Ann's sweep on it."""
    study()
    Owners(place / "service" / "owners").note("clip_lambda", "ann")
    return service(token=ADMIN, tokens=TOKENS, burst=10_000)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_token_on_every_route(kind: str, client: TestClient) -> None:
    for method, path in routes():
        real = path.replace("{name}", "clip_lambda").replace("{file}", "front.json")
        status = client.request(method, real, headers=KINDS[kind]).status_code
        changes = method not in READING
        if (method, path) in OPEN:
            expected = {200}
        elif kind in ("none", "wrong"):
            expected = {401}
        elif changes and (kind == "read" or (kind == "submit" and "{name}" in path)):
            expected = {403}  # the sweep is Ann's
        else:
            # No Ray answers here, nothing was sent, and there are no weights.
            expected = {200, 404, 409, 415, 422, 503}
        assert status in expected, (method, path)


def test_every_route_of_the_document_is_tried() -> None:
    assert {path for _, path in routes()} >= {"/sweeps", "/check", "/me", "/sweeps/{name}/resume"}
    assert len(list(routes())) >= 13


def test_the_owner_is_shown_and_may_stop_and_resume(client: TestClient) -> None:
    assert client.get("/sweeps", headers=EVE).json()["sweeps"][0]["owner"] == "ann"
    assert client.get("/sweeps/clip_lambda", headers=EVE).json()["owner"] == "ann"
    assert client.get("/me", headers=ANN).json() == {"name": "ann", "role": "submit"}
    for headers, status in ((ANN, 503), (BOB, 403), (RIGHT, 503)):
        assert client.delete("/sweeps/clip_lambda", headers=headers).status_code == status
        assert client.post("/sweeps/clip_lambda/resume", headers=headers).status_code == status


def test_a_sweep_that_nobody_submitted_is_an_admins(client: TestClient) -> None:
    study("by_hand")
    refused = client.delete("/sweeps/by_hand", headers=ANN)
    assert refused.status_code == 403 and "of nobody here" in refused.json()["detail"]
    assert client.delete("/sweeps/gone", headers=ANN).status_code == 503  # it would be 404 with Ray


def test_a_name_that_waits_for_its_owner_is_not_taken_over(client: TestClient, place: Path) -> None:
    text = SPACE.read_text().replace("sweep: clip_lambda", "sweep: new")
    headers = {"Content-Type": "application/yaml"}
    Owners(place / "service" / "owners").note("new", "ann")
    taken = client.post("/sweeps", content=text, headers=BOB | headers)
    assert taken.status_code == 409 and "taken by a sweep of ann's" in taken.json()["detail"]
    assert client.post("/sweeps", content=text, headers=ANN | headers).status_code == 503  # no Ray here


def test_a_cookie_changes_something_only_for_a_page_of_this_host(client: TestClient) -> None:
    assert client.post("/login", json={"token": "the-token-of-ann-1"}).status_code == 204
    assert client.get("/me").json()["name"] == "ann"
    assert client.delete("/sweeps/clip_lambda").status_code == 401
    others = ("http://127.0.0.1:5000", "http://evil", "null", "http://[", "", "http://127.0.0.1.evil")
    for origin in others:
        assert client.delete("/sweeps/clip_lambda", headers={"Origin": origin}).status_code in (401, 403)
    assert client.delete("/sweeps/clip_lambda", headers={"Origin": "http://127.0.0.1"}).status_code == 503
    assert (
        client.delete("/sweeps/clip_lambda", headers={"Origin": "http://127.0.0.1", **EVE}).status_code == 403
    )


def test_the_cookie_is_not_the_token_and_goes_over_tls_alone_behind_a_proxy(service: Make) -> None:
    client = service(token=ADMIN)
    plain = client.post("/login", json={"token": ADMIN}).headers["set-cookie"]
    assert ADMIN not in plain and "Secure" not in plain and "HttpOnly" in plain and "SameSite=strict" in plain
    secure = TestClient(client.app, base_url="https://127.0.0.1")
    assert "Secure" in secure.post("/login", json={"token": ADMIN}).headers["set-cookie"]


def test_a_change_is_a_line_of_json_without_a_token(caplog: pytest.LogCaptureFixture) -> None:
    from sweeper.service import audit

    audit.LOG.propagate = True
    with caplog.at_level(logging.INFO, logger="sweeper.audit"):
        audit.note(Person("ann", Role.SUBMIT), "stop", "clip_lambda", "clip_lambda-1")
    line = json.loads(caplog.messages[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", line.pop("time"))
    assert line == {"who": "ann", "what": "stop", "sweep": "clip_lambda", "job": "clip_lambda-1"}


def test_people_are_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text("# who\n\nann submit the-token-of-ann-1\neve  READ  the-token-of-eve-1\n")
    monkeypatch.setenv("SWEEPER_TOKENS_FILE", str(file))
    settings = Settings.from_environment()
    assert settings.people.by_token("the-token-of-ann-1") == Person("ann", Role.SUBMIT)
    assert settings.people.by_token("the-token-of-eve-1") == Person("eve", Role.READ)
    assert settings.people.by_token("the-token-of-ann-") is None
    assert "the-token" not in repr(settings)
    settings.check_host("0.0.0.0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ann planted-secret-word", "expects NAME ROLE TOKEN"),
        ("a/nn submit planted-secret-word", "the name is none"),
        ("ann owner planted-secret-word", "expects read, submit or admin"),
        ("ann read planted-secret", "shorter than 16"),
        ("ann read planted-secret-word\nann read planted-secret-other", "there twice"),
        ("ann read planted-secret-word\nbob read planted-secret-word", "there twice"),
    ],
)
def test_a_line_that_is_none_is_told_without_its_token(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as told:
        read_tokens(file)
    assert f"{file}:{len(text.splitlines())}: " in str(told.value) and "planted" not in str(told.value)


def test_a_file_that_cannot_be_read_or_repeats_the_admin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: FileNotFoundError"):
        read_tokens(tmp_path / "none")
    for tokens in ({ADMIN: Person("ann", Role.READ)}, {"x" * 16: Person("admin", Role.READ)}):
        with pytest.raises(UserError, match="also in SWEEPER_TOKENS_FILE"):
            _ = Settings(token=ADMIN, tokens=tokens).people


def test_the_admins_token_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("the-token-of-the-admin\n")
    monkeypatch.delenv("SWEEPER_TOKEN", raising=False)
    monkeypatch.setenv("SWEEPER_TOKEN_FILE", str(file))
    person = Settings.from_environment().people.by_token("the-token-of-the-admin")
    assert person == Person("admin", Role.ADMIN)
    monkeypatch.setenv("SWEEPER_TOKEN", "another")
    with pytest.raises(UserError, match="SWEEPER_TOKEN and SWEEPER_TOKEN_FILE are both set"):
        Settings.from_environment()


@pytest.mark.parametrize("text", ["", " \n", None])
def test_a_file_without_the_admins_token_is_refused(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
    monkeypatch.delenv("SWEEPER_TOKEN", raising=False)
    monkeypatch.setenv("SWEEPER_TOKEN_FILE", str(file))
    with pytest.raises(UserError, match=f"SWEEPER_TOKEN_FILE: {file} (is empty|cannot be read)"):
        Settings.from_environment()
