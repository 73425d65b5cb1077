"""Taking a trial of a sweep away."""

import tempfile
from pathlib import Path

from search_spaces import Space
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder, fresh_folder
from sweeper.study.chosen import choose
from sweeper.study.reading import space_of
from sweeper.study.records import TrialRecord
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.winner import register_model
from trainables.engine import checkpoint
from trainables.engine.checkpoint import point_folder
from trainables.engine.scaling import Scaling, Update
from trainables.engine.training import Training
from trainables.export import FORMATS, Trained
from trainables.problem import Problem, open_problem


def export(
    study: SweepStudy, folder: SweepFolder, trial: str | None, to: Path, form: str, blocks: int | None = None
) -> TrialRecord:
    """Writes a trained model into a folder, all of it or nothing.

    Args:
        study, folder: of the sweep.
        trial: a trial's number, a baseline's label or that of several runs; None for the recommended trial.
        blocks: of a path, the number of open blocks; None for the trial's best point inside the budget.
        to: the folder; not there yet, or empty.
        form: a key of `FORMATS`.

    Returns:
        The trial that was written.

    Raises:
        UserError: no such finished trial or format, or the folder is in use.
        ProblemError: the model or the task's data cannot be had, or the format cannot hold the method.
    """
    if form not in FORMATS:
        raise UserError(f"--format {form}: there is none; there are {', '.join(FORMATS)}")
    with fresh_folder(to) as folder_to:
        chosen, trained = _taken(study, folder, trial, blocks)
        FORMATS[form](trained, folder_to)
    return chosen


def register(
    study: SweepStudy, folder: SweepFolder, trial: str | None, model: str, blocks: int | None = None
) -> tuple[TrialRecord, str]:
    """Makes a trained model a version of a registered model of MLflow.

    Args:
        study, folder, trial, blocks: as for `export`.
        model: the name that it is registered under.

    Returns:
        The trial, and the number of the version.

    Raises:
        UserError: as `export`, or MLflow has no run of the sweep, is away or refuses.
        ProblemError: the model or the task's data cannot be had.
    """
    chosen, trained = _taken(study, folder, trial, blocks)
    with tempfile.TemporaryDirectory() as scratch:
        FORMATS["adapter"](trained, Path(scratch))
        return chosen, register_model(study, chosen, Path(scratch), model, folder.home)


def _taken(
    study: SweepStudy, folder: SweepFolder, trial: str | None, blocks: int | None
) -> tuple[TrialRecord, Trained]:
    """The trial that is meant, as its training left it."""
    record = study.record()
    chosen = choose(record, trial, blocks)
    space = space_of(study.space, record, chosen)
    place = place_of(folder, study, chosen)
    return chosen, restored(_without_tests(space), space, place, chosen)


def place_of(folder: SweepFolder, study: SweepStudy, model: TrialRecord) -> str:
    """Where the checkpoint of a model is: of a point, below that of its run."""
    place = folder.trial(model.run_key, study.results)
    trained = (model.point or "").removesuffix(_scaling(model)).removesuffix("-")
    return f"{place}/{point_folder(trained)}" if trained else place


def _scaling(model: TrialRecord) -> str:
    return str(Scaling(*model.scaling)) if model.scaling else ""


def restored(problem: Problem, space: Space, folder: str, run: TrialRecord) -> Trained:
    """The trial as its training left it.

    Raises:
        UserError: its checkpoint is not on this machine.
    """
    training = Training(problem, [space])
    if training.epochs:
        saved = checkpoint.read(folder)
        if saved is None:
            raise UserError(f"--trial {run.label}: its weights are not here, there is no {folder}")
        checkpoint.restore_model(training, 0, saved)
        if run.scaling:
            Update(training.learner).scale(Scaling(*run.scaling))
    return Trained(training, space.model, run.metrics)


def write_adapter(study: SweepStudy, problem: Problem, folder: SweepFolder, run: TrialRecord) -> Path:
    """Writes what a trial of the front has learned into the sweep's folder.

    Returns:
        The folder of the adapter.
    """
    to = folder.path / "adapters" / run.key
    to.mkdir(parents=True, exist_ok=True)
    space = space_of(study.space, study.record(), run)
    FORMATS["adapter"](restored(problem, space, place_of(folder, study, run), run), to)
    return to


def _without_tests(space: Space) -> Problem:
    """The model and the task alone: what is only measured on is not needed."""
    data = space.data.model_copy(update={"ood": (), "probes": ()})
    return open_problem(space.model_copy(update={"data": data}))
