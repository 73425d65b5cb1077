"""The command line, asking a real service."""

import io
import socket

import pytest
from conftest import Command
from prepared import SPACE, free_port
from rich.console import Console

from sweeper.commands import watch
from sweeper.commands.remote import Remote


def test_a_service_tells_what_the_folder_tells(server: str, command: Command) -> None:
    _, here = command("status", "clip_lambda")
    status, there = command("status", "clip_lambda", "--server", server)
    lines = [line.strip() for line in there.splitlines()]
    assert status == 0 and lines[-1].startswith("state: interrupted")
    *told, left = [line.strip() for line in here.splitlines()]
    assert lines[:-1] == told and left.startswith("no driver runs; go on with: ")
    _, local = command("list")
    status, remote = command("list", "--server", server)
    assert status == 0 and f"{local.strip()} · interrupted" in remote


def test_a_status_is_watched_until_nothing_runs(
    server: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    watch.redraw(Remote(server).view("clip_lambda"), Console(file=io.StringIO(), force_terminal=True))
    assert capsys.readouterr().out == command("status", "clip_lambda", "--server", server)[1]


def test_the_server_may_be_named_by_the_environment(
    server: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_SERVER", server)
    assert command("report", "clip_lambda") == (0, f"report: {server}/sweeps/clip_lambda/report\n")
    status, told = command("status", "clip_lamda")
    assert (status, told) == (2, "there is no sweep 'clip_lamda'; did you mean 'clip_lambda'?\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", str(SPACE), "--name", "new"),
        ("stop", "clip_lambda"),
        ("resume", "clip_lambda"),
        ("logs", "clip_lambda"),
    ],
)
def test_what_the_service_cannot_do_is_one_message(
    arguments: tuple[str, ...], server: str, command: Command
) -> None:
    status, told = command(*arguments, "--server", server)
    assert status == 2 and told.startswith("no Ray cluster answers") and told.count("\n") == 1


def test_a_mistake_in_a_space_is_told_before_anything_is_sent(command: Command) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    status, told = command("submit", str(SPACE), "--set", "search.trials=0", "--server", address)
    assert (status, told) == (2, "--set search.trials=0: search.trials: must be at least 1, got 0\n")


def test_a_wrong_token_and_a_silent_server_are_one_message_each(
    server: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_TOKEN", "guess")
    assert command("list", "--server", server) == (
        2, f"{server} has another token: set SWEEPER_TOKEN to the service's\n"
    )  # fmt: skip
    monkeypatch.delenv("SWEEPER_TOKEN")
    assert "asks for a token" in command("list", "--server", server)[1]
    address = f"http://127.0.0.1:{free_port()}"
    status, told = command("list", "--server", address)
    assert status == 2 and told.startswith(f"no service answers at {address}") and told.count("\n") == 1


@pytest.mark.parametrize("name", ["../other", "a/b", "..", "", "a b"])
def test_a_name_that_is_none_never_leaves(name: str, server: str, command: Command) -> None:
    status, told = command("status", name, "--server", server)
    assert status == 2 and "no sweep's name" in told


def test_commands_for_a_service_ask_for_its_address(command: Command) -> None:
    for arguments in (("stop", "x"), ("logs", "x"), ("submit", str(SPACE))):
        status, told = command(*arguments)
        assert status == 2 and "--server" in told
    assert command("list", "--server", "host:8080")[0] == 2


def test_serve_refuses_to_be_open_without_a_token(command: Command) -> None:
    status, told = command("serve", "--host", "0.0.0.0")
    assert status == 2 and "SWEEPER_TOKEN" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["postgresql://me:planted-secret@host/db", "postgresql://host/db?sslpassword=planted-secret"]
)
def test_a_password_on_a_command_line_is_refused_and_in_the_environment_taken(
    url: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = command("status", "x", "--storage", url)
    assert status == 2 and "set SWEEPER_STORAGE" in told and "planted-secret" not in told
    monkeypatch.setenv("SWEEPER_STORAGE", url.replace("host", "127.0.0.1:9"))
    status, told = command("status", "x")
    assert status == 2 and "cannot be opened" in told and "planted-secret" not in told


def test_a_password_in_the_servers_address_is_refused_and_not_shown(command: Command) -> None:
    status, told = command("list", "--server", "http://me:planted-secret@host:8080")
    assert status == 2 and "SWEEPER_TOKEN" in told and "planted-secret" not in told


def test_serve_says_that_its_port_is_taken_before_it_starts_anything(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, told = command("serve", "--port", port)
    assert (status, told) == (
        2,
        f"--host 127.0.0.1 --port {port}: cannot be listened on: Address already in use\n",
    )
