"""The command line: ``python -m sweeper``."""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from search_spaces import SpaceError, json_schema, load_space
from sweeper.commands import remote
from sweeper.commands.options import (
    Address,
    Name,
    Rename,
    Results,
    Server,
    Set,
    SpaceFile,
    Storage,
    Trials,
    console,
    say,
)
from sweeper.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.report.outcome import Outcome

app = typer.Typer(
    name="sweeper",
    help="Search for the adapter that learns most, forgets least and keeps its block budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """What `export` can write: the keys of `trainables.export.FORMATS`."""

    PEFT = "peft"
    MERGED = "merged"
    ADAPTER = "adapter"


app.add_typer(remote.app)

_WIDEST = 500  # characters of a table

DONE, FAILED, BAD_INPUT, NO_TRIAL_MET_THE_BUDGET, INTERRUPTED = 0, 1, 2, 3, 130


@app.command()
def run(
    space: SpaceFile,
    set_: Set = [],  # noqa: B006
    name: Rename = None,
    address: Address = None,
    storage: Storage = None,
    results: Results = None,
) -> None:
    """Run a sweep to its end."""
    loaded = load_space(space, [*set_, *([f"sweep={name}"] if name else [])])
    _finish(loaded.sweep, address, storage, lambda runner, around: runner.start(loaded, results, around))


@app.command()
def resume(
    name: Name,
    trials: Trials = None,
    address: Address = None,
    storage: Storage = None,
    server: Server = None,
) -> None:
    """Go on with a sweep that was interrupted, or ask for more of its trials."""
    if server:
        return remote.resume(name, trials, server)
    _finish(name, address, storage, lambda runner, around: runner.resume(name, trials, around))


@app.command()
def validate(space: SpaceFile, set_: Set = []) -> None:  # noqa: B006
    """Check a space; show it with its defaults, its blocks, its budget and its cost.

    Nothing is fetched: what is not on this machine yet is named, and needs not be here.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    loaded = load_space(space, set_)
    from sweeper.commands.cost import confirmations, estimate
    from sweeper.driver.fit import check_budget, check_fit
    from sweeper.driver.progress import duration
    from sweeper.report import words
    from trainables import open_problem
    from trainables.backbones import open_backbone
    from trainables.errors import MissingError, at

    resolved = loaded.dump()
    with at("model"):
        outline = open_backbone(resolved["model"], weights=False)
    blocks = check_fit(loaded, outline)
    budget = check_budget(loaded, len(blocks))
    say(
        loaded.to_yaml(),
        f"blocks: {len(blocks)}",
        f"budget: {words.budget_of(loaded.budget, budget, len(blocks))}",
        f"mode: {words.mode(loaded.budget.mode, budget)}",
    )
    try:
        cost = estimate(open_problem(_without_downloads(resolved)), loaded)
    except MissingError as missing:
        say("not on this machine yet, so `run` would refuse:", missing)
        return
    runs = f"{loaded.search.trials} trials and {len(loaded.baseline_runs)} baselines"
    if again := confirmations(loaded):
        runs += f" and {again} confirmations"
    say(
        f"cost: about {duration(cost.trial)} a trial, {duration(cost.sweep)} for {runs}, "
        f"{cost.at_once} at a time on this machine"
    )


@app.command()
def schema() -> None:
    """Print the JSON schema of a space, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command("list")
def list_(storage: Storage = None, server: Server = None) -> None:
    """Show the sweeps in this working directory, or all of a storage."""
    if server:
        return remote.list_(server)
    from sweeper.driver.progress import sweep_line
    from sweeper.storage.folders import SweepFolder, names
    from sweeper.storage.optuna_storage import open_storage
    from sweeper.study.sweep_study import SweepStudy, open_study

    for name in SweepStudy.names(open_storage(storage, Path())) if storage else names():
        try:
            say(sweep_line(open_study(name, SweepFolder(name).storage(storage)).record()))
        except UserError as error:
            say(f"{name}: {error}")


@app.command()
def status(name: Name, storage: Storage = None, server: Server = None) -> None:
    """Show how far a sweep is and its front."""
    if server:
        return remote.status(name, server)
    from sweeper.driver.progress import sweep_line, under_way
    from sweeper.report import front_table
    from sweeper.storage.folders import SweepFolder
    from sweeper.study.sweep_study import open_study

    record = open_study(name, SweepFolder(name).storage(storage)).record()
    say(sweep_line(record))
    if any(run.state == "running" for run in record.runs):
        _show(under_way(record))
    _show(front_table(record))


@app.command()
def report(name: Name, storage: Storage = None, server: Server = None) -> None:
    """Write a sweep's report again, also while it runs."""
    if server:
        return remote.report(name, server)
    from sweeper.report.outcome import write_outcome
    from sweeper.storage.folders import SweepFolder
    from sweeper.study.sweep_study import open_study

    folder = SweepFolder(name)
    outcome = write_outcome(open_study(name, folder.storage(storage)), folder)
    say(f"report: {outcome.page}")


@app.command()
def export(
    name: Name,
    to: Annotated[Path, typer.Option(help="the folder to write; not there yet, or empty")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="peft: its LoRA format; merged: the whole model for timm or open_clip; adapter: what was "
            "trained, for every method",
        ),
    ],
    trial: Annotated[
        str | None, typer.Option(help="a trial's number or a baseline's label; else the recommended one")
    ] = None,
    storage: Storage = None,
) -> None:
    """Take a trained model away."""
    from sweeper.export import export as write

    chosen = write(name, trial, to, form, storage)
    say(f"exported {chosen.key} as {form}: {to}")


@app.command()
def evaluate(
    path: Annotated[
        Path, typer.Argument(help="a folder that `export` or peft has written, or a checkpoint file")
    ],
    space: Annotated[Path, typer.Option(help="a space file; its model and data are taken")],
    set_: Set = [],  # noqa: B006
) -> None:
    """Measure a model on the data of a space, before and after its training."""
    loaded = load_space(space, set_)
    from sweeper.commands.evaluate import evaluation_table

    _show(evaluation_table(path, loaded))


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 5000,
) -> None:
    """Open the MLflow UI on the sweeps of this working directory."""
    from sweeper.storage.optuna_storage import shown
    from sweeper.tracking.tracker import tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        say(f"MLflow serves its UI at {shown(uri)}")
        return
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # A command line can be read by every process of the machine, and the URI may have a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    arguments = ["-m", "mlflow", "server", "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments, "--workers", "1"])


def main() -> None:
    """Runs a command; a mistake of the person's ends in one message and exit status 2."""
    try:
        app(standalone_mode=True)
    except (SpaceError, UserError) as error:
        _refuse(error)
    except Exception as error:
        # Imported here, since it brings torch along, which other mistakes can do without.
        from trainables.errors import ProblemError

        if not isinstance(error, ProblemError):
            raise
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    print(error, file=sys.stderr)
    sys.exit(BAD_INPUT)


def _show(table: "Table") -> None:
    """Prints a table as wide as it is: cut to a narrow screen it would lose columns."""
    whole = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
    Console(width=max(whole, console.width)).print(table)


def _without_downloads(space: dict[str, Any]) -> dict[str, Any]:
    data = space["data"]
    sources = {key: [source | {"download": False} for source in data[key]] for key in ("ood", "probes")}
    return space | {"data": {**data, **sources, "id": data["id"] | {"download": False}}}


def _finish(name: str, address: str | None, storage: str | None, go: Callable[..., "Outcome"]) -> None:
    """Runs a sweep, then says what came out, or how to go on."""
    from sweeper.driver import runner
    from sweeper.driver.cluster import whereabouts
    from sweeper.report import front_table

    try:
        outcome = go(runner, runner.Surroundings(whereabouts(address), storage, console))
    except KeyboardInterrupt:
        say(f"\nstopped; go on with: python -m sweeper resume {name}")
        raise typer.Exit(INTERRUPTED) from None
    _show(front_table(outcome.record))
    if outcome.reproduce:
        say(f"recommended: train it again with\n  {outcome.reproduce}")
    say(f"report: {outcome.page}", "compare the trials in MLflow: python -m sweeper ui")
    if not any(trial.state == "complete" for trial in outcome.record.trials):
        say("every trial failed; the report and MLflow have the reasons")
        raise typer.Exit(FAILED)
    if not outcome.record.front:
        say(f"no trial met the budget of {outcome.record.budget} blocks")
        raise typer.Exit(NO_TRIAL_MET_THE_BUDGET)
