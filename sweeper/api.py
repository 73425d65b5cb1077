"""The API for notebooks and scripts: what the command line does, as functions and data frames.

Mistakes are raised as exceptions with the messages of the command line: `sweeper.UserError`,
`search_spaces.SpaceError` and `trainables.errors.ProblemError`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from search_spaces import Space, as_text, change_space, load_space
from sweeper.driver.progress import sweep_line
from sweeper.errors import UserError
from sweeper.report.frame import front_frame, trials_frame
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import is_driven, mended
from sweeper.storage.optuna_storage import located
from sweeper.study.changes import enqueued
from sweeper.study.front import recommended
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.study.sweep_study import SweepStudy, open_study

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.driver.runner import Surroundings

__all__ = ["Sweep", "UserError", "load", "resume", "run"]

Folder = Path | str


class Sweep:
    """A sweep, finished or under way. Whatever it is asked, it answers as things stand then.

    Attributes:
        name: of the sweep.
    """

    def __init__(self, folder: SweepFolder, storage: str | None) -> None:
        self.name = folder.name
        self._folder, self._storage = folder, storage
        self._opened = open_study(folder, storage)

    def __repr__(self) -> str:
        return sweep_line(self.record)

    @property
    def space(self) -> Space:
        """What the sweep is asked for."""
        return self._study.space

    @property
    def record(self) -> SweepRecord:
        """All that is known of the sweep."""
        return self._study.record()

    @property
    def _study(self) -> SweepStudy:
        if not self._opened.current:
            self._opened = open_study(self._folder, self._storage)
        return self._opened

    @property
    def running(self) -> bool:
        """Whether a driver is at it, here or elsewhere."""
        return is_driven(self._folder.study, self._folder.path, self._storage)

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial, a baseline or a confirmation: see `sweeper.report.frame.trials_frame`."""
        return trials_frame(self.record)

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `trials` that are on the front, by falling ID accuracy."""
        return front_frame(self.record)

    @property
    def best(self) -> TrialRecord | None:
        """The knee of the front, which is recommended; None while no trial has met the budget."""
        return recommended(self.record)

    def enqueue(self, values: Mapping[str, Any] | Sequence[str]) -> str:
        """Has a trial with these values begin next, also while the sweep runs elsewhere; the trial's key.

        Where nothing runs, it comes first when the sweep goes on.

        Args:
            values: by the paths of what is searched, such as ``{"method.rank": 4}``, or as they are written
                on a command line, ``["method.rank=4"]``; the sampler chooses what is left out.

        Raises:
            UserError: a value is none that is searched, or the sweep is finished.
        """
        by_path = values.items() if isinstance(values, Mapping) else ()
        written = [f"{path}={json.dumps(value)}" for path, value in by_path] or list(values)
        with mended(self.name, self._folder.path, self._folder.journal, self._storage):
            study = open_study(self._folder, self._storage)
            return study.enqueue(enqueued(study.space, written))

    def plot(self) -> "go.Figure":
        """ID accuracy (percent) against forgetting (percentage points), on validation splits."""
        from sweeper.report.plots import front_plot

        return front_plot(self.record)

    def report(self) -> Path:
        """Writes the report; its page."""
        from sweeper.report.outcome import write_outcome

        page = write_outcome(self._study, self._folder).page
        assert page is not None  # what fails is raised
        return page

    def export(
        self,
        to: Folder,
        *,
        trial: int | str | None = None,
        format: str = "merged",
        blocks: int | None = None,
    ) -> TrialRecord:
        """Writes a trained model into a folder, all of it or nothing; the trial that it is of.

        Args:
            to: the folder; not there yet, or empty.
            trial: a trial's number or a baseline's label; None for the recommended trial.
            format: ``merged``, the whole model for timm or open_clip; ``peft``, its LoRA format;
                ``adapter``, what was trained, for every method.
            blocks: of a path, the number of open blocks; None for its best point inside the budget.

        Raises:
            UserError: there is no such trial or format, or the folder is in use.
            ProblemError: the model or the task's data cannot be had, or the format cannot hold the method.
        """
        from sweeper.export import export

        return export(self._study, self._folder, _label(trial), Path(to), format, blocks)

    def register(
        self, model: str, *, trial: int | str | None = None, blocks: int | None = None
    ) -> tuple[TrialRecord, str]:
        """Makes a trained model the next version of a registered model of MLflow; the trial and the version.

        Args:
            model: the name that it is registered under.
            trial, blocks: as for `export`.

        Raises:
            UserError: as `export`, or MLflow has no run of the sweep, is away or refuses.
            ProblemError: the model or the task's data cannot be had.
        """
        from sweeper.export import register

        return register(self._study, self._folder, _label(trial), model, blocks)


def run(
    space: Folder | Mapping[str, Any] | Space,
    *,
    name: str | None = None,
    overrides: Sequence[str] = (),
    folder: Folder = "",
    storage: str | None = None,
    results: Folder | None = None,
    address: str | None = None,
    fresh: bool = False,
    quiet: bool = False,
) -> Sweep:
    """Runs a new sweep to its end.

    Args:
        space: a space file, the mapping that one holds, or a `Space`.
        name: a name other than the space's own.
        overrides: of its values, such as ``search.trials=64``.
        folder: where ``sweeps``, and ``mlflow.db`` unless MLFLOW_TRACKING_URI is set, are kept; the working
            folder by default.
        storage: SQLAlchemy URL of the Optuna storage; else SWEEPER_STORAGE, else a file in the folder.
        results: a folder or URL where checkpoints and the report are kept; else SWEEPER_RESULTS, else the
            folder.
        address: of a Ray cluster to join; else RAY_ADDRESS, else Ray is started here.
        fresh: whether baselines are trained that an earlier sweep here has trained with equal settings.
        quiet: whether nothing is printed.

    Raises:
        SpaceError, ProblemError, UserError: something is wrong; nothing has been started.
        KeyboardInterrupt: interrupted, in a main thread; `resume` goes on.
    """
    named = [*overrides, *([as_text("sweep", name)] if name else [])]
    source = Path(space) if isinstance(space, str | Path) else None
    loaded = load_space(space, named) if isinstance(space, str | Path) else change_space(space, named)
    from sweeper.driver import runner

    kept = results or os.environ.get("SWEEPER_RESULTS")
    around = _around(folder, storage, address, quiet, source)
    runner.start(loaded, str(kept) if kept else None, around, fresh)
    return load(loaded.sweep, folder=around.home, storage=around.storage)


def resume(
    name: str,
    *,
    trials: int | None = None,
    retry_failed: bool = False,
    overrides: Sequence[str] = (),
    folder: Folder = "",
    storage: str | None = None,
    address: str | None = None,
    quiet: bool = False,
) -> Sweep:
    """Goes on with a sweep that was interrupted, or asks for more of its trials.

    Args:
        name: of the sweep.
        trials: how many are asked for from now on, in all.
        retry_failed: whether what has failed is begun again, with the same values.
        overrides: of resources and of when the search ends, such as ``resources.cpus_per_trial=2``.
        folder, storage, address, quiet: as for `run`.

    Raises:
        UserError: there is no such sweep, it is running elsewhere, or cannot be changed like that.
        KeyboardInterrupt: as for `run`.
    """
    from sweeper.driver import runner

    around = _around(folder, storage, address, quiet)
    runner.resume(name, trials, around, retry_failed, overrides)
    return load(name, folder=around.home, storage=around.storage)


def load(name: str, *, folder: Folder = "", storage: str | None = None) -> Sweep:
    """A sweep that has been begun, here or elsewhere.

    Args:
        name: of the sweep.
        folder, storage: as for `run`.

    Raises:
        UserError: there is no such sweep.
    """
    place = SweepFolder(name, Path(folder).absolute())
    return Sweep(place, place.storage(_storage(storage)))


def _storage(given: str | None) -> str | None:
    url = given or os.environ.get("SWEEPER_STORAGE")
    return located(url, Path.cwd()) if url else None


def _around(
    folder: Folder, storage: str | None, address: str | None, quiet: bool, source: Path | None = None
) -> "Surroundings":
    from rich.console import Console

    from sweeper.driver.cluster import whereabouts
    from sweeper.driver.runner import Surroundings

    home = Path(folder).absolute()
    return Surroundings(whereabouts(address), _storage(storage), Console(quiet=quiet), source, home)


def _label(trial: int | str | None) -> str | None:
    return None if trial is None else str(trial)
