"""All trackers that a space asks for."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from search_spaces import Space
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.study.records import SweepRecord
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.mlflow_runs import mlflow_runs
from sweeper.tracking.projection import Epochs
from sweeper.tracking.tracked import End, Opener
from sweeper.tracking.tracker import History, Tracker


class Trackers:
    """Each keeps its runs as the study has them; a sweep waits for none. See `Tracker`."""

    def __init__(
        self,
        study: SweepStudy,
        history: History,
        say: Callable[[str], None],
        folder: SweepFolder,
        source: Path | None = None,
    ) -> None:
        self._all = [
            Tracker(study, history, say, source, folder.home, _opener(name, study, folder))
            for name in study.space.tracking
        ]

    def open(self) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.open()

    def sync(self, record: SweepRecord, epochs: Mapping[str, Epochs] | None = None) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.sync(record, epochs)

    def flush(self) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.flush()

    def close(self, record: SweepRecord, end: End) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.close(record, end)


def check_libraries(space: Space) -> None:
    """Whether the library of each tracker is here and can be used.

    Raises:
        UserError: one is missing, or wandb has no key.
    """
    for name in space.tracking:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"tracking: {name} needs a library that is not installed: pip install "
                f'"selective-lora-sweeper[{name}]", or leave it out'
            )
        if name == "wandb":
            from sweeper.tracking.wandb_runs import check_key

            check_key()


def _opener(name: str, study: SweepStudy, folder: SweepFolder) -> Opener:
    if name == "tensorboard":
        from sweeper.tracking.tensorboard import TensorBoardRuns

        return lambda waiting, given_up: TensorBoardRuns(folder.path / name)
    if name == "wandb":
        from sweeper.tracking.wandb_runs import WandbRuns

        sweep, sweep_id = study.space.sweep, study.identify()
        return lambda waiting, given_up: WandbRuns(sweep, sweep_id, folder.path / name)
    return mlflow_runs(study, folder.home)
