"""The command line: ``python -m sweeper``."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from search_spaces import Space, SpaceError, as_text, json_schema, load_space
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
    begun,
    console,
    say,
    searched,
    show,
)
from sweeper.commands.remote import Remote
from sweeper.errors import UserError
from sweeper.formats import Format

if TYPE_CHECKING:
    from sweeper.commands.local import Local
    from sweeper.driver.runner import Surroundings
    from sweeper.report.outcome import Outcome

app = typer.Typer(
    name="sweeper",
    help="Search for the adapter that learns most, forgets least and keeps its block budget.",
    no_args_is_help=True,
    # Of `python -m sweeper` a shell would complete every `python`.
    add_completion=Path(sys.argv[0]).name == "sweeper",
    pretty_exceptions_enable=False,
)


app.add_typer(remote.app)

_COMPARE = {
    "mlflow": "compare the trials in MLflow: python -m sweeper ui",
    "tensorboard": "compare the trials in TensorBoard: tensorboard --logdir sweeps/{}/tensorboard",
    "wandb": "compare the trials in Weights & Biases: project {}",
}
_LOADING = "loading PyTorch, Ray and MLflow"
DONE, FAILED, BAD_INPUT, NO_TRIAL_MET_THE_BUDGET, INTERRUPTED = 0, 1, 2, 3, 130


@app.command()
def run(
    space: SpaceFile,
    set_: Set = [],  # noqa: B006
    name: Rename = None,
    address: Address = None,
    storage: Storage = None,
    results: Results = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="train also the baselines that an earlier sweep here has trained")
    ] = False,
) -> None:
    """Run a sweep to its end."""
    loaded = load_space(space, [*set_, *([as_text("sweep", name)] if name else [])])
    say(_LOADING)
    from sweeper.driver import runner

    with _resumable(loaded.sweep):
        outcome = runner.start(loaded, results, _around(address, storage, space), fresh)
    _tell(outcome)


@app.command()
def resume(
    name: Name,
    trials: Trials = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="begin what has failed again, with the same values")
    ] = False,
    set_: Set = [],  # noqa: B006
    address: Address = None,
    storage: Storage = None,
    server: Server = None,
) -> None:
    """Go on with a sweep that was interrupted, or ask for more of its trials."""
    if server:
        return Remote(server).resume(name, trials, retry_failed, set_)
    say(_LOADING)
    from sweeper.driver import runner

    with _resumable(name):
        outcome = runner.resume(name, trials, _around(address, storage), retry_failed, set_)
    _tell(outcome)


@app.command()
def enqueue(
    name: Name,
    values: Annotated[
        list[str],
        typer.Argument(metavar="PATH=VALUE...", help="such as method.rank=4", autocompletion=searched),
    ],
    storage: Storage = None,
    server: Server = None,
) -> None:
    """Have a trial with these values begin next, also while the sweep runs; the sampler chooses the rest."""
    if server:
        return Remote(server).enqueue(name, values)
    from sweeper.api import load

    sweep = load(name, storage=storage)
    key = sweep.enqueue(values)
    say(f"{key} waits, and begins {'next' if sweep.running else f'at: python -m sweeper resume {name}'}")


@app.command()
def init(
    model: Annotated[str, typer.Option(help="its name in open_clip or timm, such as ViT-B-32")],
    data: Annotated[Path, typer.Option(help="a folder of class folders, or of train, val and test")],
    pretrained: Annotated[
        str | None, typer.Option(metavar="TAG", help="its weights; else usual ones")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="the file to write; else one named after the data")] = None,
) -> None:
    """Write a space to begin with, for your own model and pictures."""
    from sweeper.commands.init import write_space

    say(write_space(model, pretrained, data, to))


@app.command()
def validate(space: SpaceFile, set_: Set = []) -> None:  # noqa: B006
    """Check a space; show it with its defaults, its blocks, its budget and its cost.

    Nothing is fetched: what is not on this machine yet is named, and needs not be here.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    loaded = load_space(space, set_)
    from sweeper.commands.cost import confirmations, estimate
    from sweeper.driver.fit import check_budget, check_fit, check_steps, makes_prompts
    from sweeper.driver.pictures import OPENING, pictures
    from sweeper.driver.progress import duration
    from sweeper.report import words
    from sweeper.search.suggest import trials_of
    from trainables import open_problem
    from trainables.backbones import open_backbone
    from trainables.errors import MissingError, at

    with at("model"):
        outline = open_backbone(**loaded.model.dump(), weights=False)
    blocks = check_fit(loaded, outline)
    budget = check_budget(loaded, len(blocks))
    say(
        loaded.to_yaml(),
        f"blocks: {len(blocks)}",
        f"budget: {words.budget_of(loaded.budget, budget, len(blocks))}",
        f"mode: {words.mode(loaded.budget.mode, budget)}",
    )
    say(OPENING)
    try:
        problem = open_problem(_without_downloads(loaded), makes_prompts(loaded))
    except MissingError as missing:
        say("not on this machine yet, so `run` would refuse:", missing)
        return
    check_steps(loaded, len(blocks), len(problem.task.train))
    say(*pictures(problem))
    cpus = loaded.resources.cpus_per_trial
    say(f"timing a few steps, validation and tests for the cost, with a trial's CPUs ({cpus:g}) ...")
    cost = estimate(problem, loaded)
    runs = f"{trials_of(loaded)} trials and {len(loaded.baseline_runs)} baselines"
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
    _sweeps(storage, server).show_all()


@app.command()
def status(
    name: Name,
    storage: Storage = None,
    server: Server = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="draw it again every few seconds, in a terminal, until the sweep ends"),
    ] = False,
) -> None:
    """Show how far a sweep is and its front."""
    sweeps = _sweeps(storage, server)
    if watch and console.is_terminal:
        from sweeper.commands.watch import redraw

        redraw(sweeps.view(name), console)
    else:
        sweeps.show(name)


@app.command()
def report(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="of one sweep, or of several", autocompletion=begun),
    ],
    to: Annotated[Path | None, typer.Option(help="of several, the folder to write; else ./compared")] = None,
    storage: Storage = None,
    server: Server = None,
) -> None:
    """Write a sweep's report again, also while it runs; of several, put their fronts on one plot."""
    if len(names) == 1:
        return _sweeps(storage, server).report(names[0])
    if server:
        if to:
            raise UserError("--to: a service shows the report at an address; leave it out")
        return Remote(server).compare(names)
    from sweeper.commands.local import Local

    Local(storage).compare(names, to or Path("compared"))


@app.command()
def export(
    name: Name,
    to: Annotated[Path | None, typer.Option(help="the folder to write; not there yet, or empty")] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="peft: its LoRA format; merged: the whole model for timm or open_clip; adapter: what was "
            "trained, for every method",
        ),
    ] = None,
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="make it a version of this registered model of MLflow")
    ] = None,
    trial: Annotated[
        str | None, typer.Option(help="a trial's number or a baseline's label; else the recommended one")
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(help="of a path, the model with so many open blocks; else its best inside the budget"),
    ] = None,
    storage: Storage = None,
    server: Server = None,
) -> None:
    """Take a trained model away: into a folder, into MLflow's registry, or both."""
    if (to is None) != (form is None) or not (to or register):
        raise UserError("give --to and --format for a folder, --register for MLflow's registry, or all three")
    if server:
        service = Remote(server)
        if to and form:
            service.export(name, trial, blocks, to, form)
        if register:
            service.register(name, trial, blocks, register)
        return
    from sweeper.api import load

    sweep = load(name, storage=storage)
    if to and form:
        chosen = sweep.export(to, trial=trial, format=form, blocks=blocks)
        say(f"exported {chosen.key} as {form}: {to}")
    if register:
        chosen, version = sweep.register(register, trial=trial, blocks=blocks)
        say(f"registered {chosen.key} as version {version} of {register}")


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

    show(evaluation_table(path, loaded))


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="a folder that `export` has written")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="files to classify")],
) -> None:
    """Name the class of pictures with a model that was taken away: file, class and its probability."""
    from trainables.export import Classifier

    classifier = Classifier(folder)
    for picture, (share, place) in zip(pictures, classifier.best(pictures), strict=True):
        typer.echo(f"{picture}\t{classifier.classes[place]}\t{share:.4f}")


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="do it; else it is only said what would be")] = False,
    storage: Storage = None,
) -> None:
    """Delete a sweep: its study, checkpoints and report. Its runs in MLflow stay."""
    from sweeper.commands.delete import delete as remove

    say(remove(name, yes, storage))


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 5000,
) -> None:
    """Open the MLflow UI on the sweeps of this working directory."""
    from sweeper.storage.optuna_storage import shown
    from sweeper.tracking.runs import tracking_uri, views

    uri = tracking_uri()
    if uri.startswith("http"):
        say(f"MLflow serves its UI at {shown(uri)}")
        return
    # Another database may be away, which the server itself tells.
    if uri.startswith("sqlite:///") and Path(uri.removeprefix("sqlite:///")).is_file():
        say(*(f"{name}: http://{host}:{port}{view}" for name, view in views(uri).items()))
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


def _without_downloads(space: Space) -> Space:
    """The same space, of which nothing is fetched."""
    here, data = {"download": False}, space.data
    several = {key: tuple(s.model_copy(update=here) for s in getattr(data, key)) for key in ("ood", "probes")}
    changed = data.model_copy(update={"id": data.id.model_copy(update=here), **several})
    return space.model_copy(update={"data": changed})


def _sweeps(storage: str | None, server: str | None) -> "Local | Remote":
    """What commands look at: the sweeps of a service, if one is named, or those that are kept here."""
    if server:
        return Remote(server)
    from sweeper.commands.local import Local

    return Local(storage)


def _around(address: str | None, storage: str | None, source: Path | None = None) -> "Surroundings":
    from sweeper.driver.cluster import whereabouts
    from sweeper.driver.runner import Surroundings

    return Surroundings(whereabouts(address), storage, console, source)


@contextmanager
def _resumable(name: str) -> Iterator[None]:
    """Says how to go on with a sweep that is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nstopped; go on with: python -m sweeper resume {name}")
        raise typer.Exit(INTERRUPTED) from None


def _tell(outcome: "Outcome") -> None:
    """Says what came out of a sweep, also by the exit status."""
    from sweeper.report import front_table, words

    show(front_table(outcome.record))
    if outcome.reproduce:
        say(f"recommended: train it again with\n  {outcome.reproduce}")
    if outcome.page:
        say(f"report: {outcome.page}")
    for tracker in outcome.tracking:
        say(_COMPARE[tracker].format(outcome.record.name))
    if not any(trial.state == "complete" and not trial.taken_over for trial in outcome.record.trials):
        say("every trial failed; the report and MLflow have the reasons")
        raise typer.Exit(FAILED)
    if not outcome.record.front:
        say(words.no_front(outcome.record))
        raise typer.Exit(NO_TRIAL_MET_THE_BUDGET)
