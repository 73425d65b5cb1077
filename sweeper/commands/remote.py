"""Commands that serve sweeps to others, and that ask a service."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from search_spaces import as_text, load_space
from sweeper.commands.options import Name, Rename, Server, Set, SpaceFile, console, say
from sweeper.commands.watch import Look
from sweeper.errors import UserError
from sweeper.storage.folders import fresh_folder

app = typer.Typer()

_GOES_ON = ("queued", "running")
_PERIOD = 2.0  # seconds between two looks at a log that is followed


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="address to listen on; beyond loopback SWEEPER_TOKEN is needed")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="port to listen on")] = 8080,
    address: Annotated[
        str | None, typer.Option(help="the Ray cluster to join; else RAY_ADDRESS, else started here")
    ] = None,
) -> None:
    """Serve sweeps over HTTP: submit, watch, stop and resume them.

    By itself it starts Ray on this machine, and ends it again. To serve a cluster, run it on the head node,
    in the environment and from the folder in which `ray start --head` was run: drivers run in this folder, as
    jobs of Ray, and have the head's environment. So SWEEPER_STORAGE, SWEEPER_RESULTS and MLFLOW_TRACKING_URI
    are read from the environment alone, never given here. That head needs `--resources '{"driver": 4}'` for
    four drivers side by side.
    """
    from sweeper.service.settings import Settings

    settings = Settings.from_environment()
    settings.check_host(host)
    from sweeper.service.run import run

    run(settings, host, port, address, say)


@app.command()
def submit(space: SpaceFile, set_: Set = [], name: Rename = None, server: Server = None) -> None:  # noqa: B006
    """Have a service run a sweep."""
    loaded = load_space(space, [*set_, *([as_text("sweep", name)] if name else [])])
    _print_state(_client(server).submit(loaded))


@app.command()
def logs(
    name: Name,
    server: Server = None,
    follow: Annotated[bool, typer.Option("--follow", help="go on until the sweep ends")] = False,
) -> None:
    """Show what a sweep's driver has written on a service."""
    client, shown = _client(server), 0
    while True:
        # The state is asked for first: after the end nothing more is written.
        goes_on = follow and client.sweep(name)["state"] in _GOES_ON
        text = client.log(name, shown)
        shown += len(text)
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        if not goes_on:
            return
        time.sleep(_PERIOD)


@app.command()
def stop(name: Name, server: Server = None) -> None:
    """Have a service stop a sweep; what it has found stays, and it can be resumed."""
    _print_state(_client(server).stop(name))


class Remote:
    """The sweeps of a service."""

    def __init__(self, server: str) -> None:
        self._client, self._server = _client(server), server

    def resume(self, name: str, trials: int | None, retry_failed: bool, settings: Sequence[str]) -> None:
        """Has a sweep go on."""
        _print_state(self._client.resume(name, trials, retry_failed, settings))

    def show_all(self) -> None:
        """A line a sweep."""
        there = self._client.sweeps()
        if there["notice"]:
            say(there["notice"])
        for sweep in there["sweeps"]:
            owner = f" · {sweep['owner']}" if sweep["owner"] else ""
            say(f"{sweep['line']} · {sweep['state']}{owner}")

    def show(self, name: str) -> None:
        """How far a sweep is and its front, as the service prints it."""
        show, _ = self.view(name)()
        show()

    def view(self, name: str) -> Look:
        """What `show` shows, as things stand whenever it is called."""

        def look() -> tuple[Callable[[], None], bool]:
            sweep = self._client.sweep(name)
            return partial(say, _status(sweep)), sweep["state"] not in _GOES_ON

        return look

    def report(self, name: str) -> None:
        """Where the report is."""
        say(f"report: {self._client.report(name)}")

    def compare(self, names: Sequence[str]) -> None:
        """Where the page is that has the sweeps on one plot."""
        say(f"report: {self._client.compared(list(dict.fromkeys(names)))}")

    def enqueue(self, name: str, values: Sequence[str]) -> None:
        """Has a trial with these values begin next."""
        trial = self._client.enqueue(name, values)
        resume = f"python -m sweeper resume {name} --server {self._server}"
        say(f"{trial['key']} waits, and begins {'next' if trial['running'] else f'at: {resume}'}")

    def export(self, name: str, trial: str | None, blocks: int | None, to: Path, form: str) -> None:
        """Writes a trained model into a folder, all of it or nothing."""
        with fresh_folder(to) as folder, console.status("the service writes the model and sends it ..."):
            key = self._client.export(name, form, trial, blocks, folder)
        say(f"exported {key} as {form}: {to}")

    def register(self, name: str, trial: str | None, blocks: int | None, model: str) -> None:
        """Makes a trained model a version of a registered model of the service's MLflow."""
        with console.status("the service registers the model ..."):
            registered = self._client.register(name, model, trial, blocks)
        say(registered)


def _status(sweep: dict[str, Any]) -> str:
    owner = f"owner: {sweep['owner']}\n" if sweep["owner"] else ""
    return f"{sweep['status']}{owner}state: {_state(sweep)}"


def _print_state(sweep: dict[str, Any]) -> None:
    """What has become of a sweep that something was asked of."""
    say(f"{sweep['name']}: {_state(sweep)} (job {sweep['job']})")


def _state(sweep: dict[str, Any]) -> str:
    return f"{sweep['state']}, {sweep['message']}" if sweep["message"] else str(sweep["state"])


def _client(server: str | None) -> Any:
    from sweeper.commands.client import Client

    if server is None:
        raise UserError("this asks a service: give its address by --server, or set SWEEPER_SERVER")
    return Client(server)
