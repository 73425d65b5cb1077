"""Arguments and options that several commands share, and the console that they write to."""

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer
from rich.console import Console
from rich.table import Table

from search_spaces import Choices
from sweeper import screen
from sweeper.errors import UserError
from sweeper.storage.folders import names

console = Console()

_WIDEST = 500  # characters of a table


def begun(incomplete: str) -> list[str]:
    """The sweeps of this folder whose names begin so, for a shell that completes words."""
    return [name for name in names() if name.startswith(incomplete)]


def searched(ctx: typer.Context, incomplete: str) -> list[str]:
    """What a sweep searches, as its trials are named: ``method.rank=``, then each of its choices."""
    from sweeper.api import load

    try:
        parameters = load(ctx.params["name"], storage=ctx.params.get("storage")).space.search.parameters
    except UserError:
        return []
    path, equals, _ = incomplete.partition("=")
    domain = parameters.get(path)
    if equals and isinstance(domain, Choices):
        found = [f"{path}={c if isinstance(c, str) else json.dumps(c)}" for c in domain.choices]
    else:
        found = [f"{name}=" for name in parameters]
    return [word for word in found if word.startswith(incomplete)]


SpaceFile = Annotated[Path, typer.Argument(help="a space file, such as spaces/clip_lambda.yaml")]
Name = Annotated[str, typer.Argument(help="the name of a sweep", autocompletion=begun)]
Rename = Annotated[str | None, typer.Option("--name", help="a name other than the space's own")]
Set = Annotated[
    list[str], typer.Option("--set", help="override a value: search.trials=64", metavar="PATH=VALUE")
]
Trials = Annotated[int | None, typer.Option(min=1, help="trials asked for from now on, in all")]
Address = Annotated[
    str | None, typer.Option(help="a Ray cluster to join; else RAY_ADDRESS, else started here")
]


def _without_password(context: typer.Context, parameter: typer.CallbackParam, url: str | None) -> str | None:
    """Every process of the machine can read a command line, and a cluster keeps those of its drivers."""
    source = context.get_parameter_source(parameter.name or "")
    if url and source is not None and source.name == "COMMANDLINE":
        from sweeper.storage.optuna_storage import shown

        if "***" in unquote(shown(url)):
            raise UserError(
                "--storage: a password does not belong on a command line; set SWEEPER_STORAGE to the URL"
            )
    return url


Storage = Annotated[
    str | None,
    typer.Option(
        envvar="SWEEPER_STORAGE",
        help="SQLAlchemy URL of the Optuna storage; with a password, in the environment alone",
        show_envvar=True,
        callback=_without_password,
    ),
]
Results = Annotated[
    str | None,
    typer.Option(
        envvar="SWEEPER_RESULTS",
        help="where checkpoints and the report are kept: a folder that all machines see, or a URL such as "
        "s3://bucket/sweeps; else ./sweeps",
        show_envvar=True,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        envvar="SWEEPER_SERVER",
        help="a service to ask, such as http://host:8080, instead of this working directory; its token is "
        "SWEEPER_TOKEN",
        show_envvar=True,
    ),
]


def say(*lines: object) -> None:
    """Prints lines to the console that all commands share."""
    screen.say(console, *lines)


def show(table: Table) -> None:
    """Prints a table as wide as it is: cut to a narrow screen it would lose columns."""
    whole = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
    Console(width=max(whole, console.width)).print(table)
