"""A tracker that cannot be asked what it has: it is noted beside the sweep, a file a run."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from mlflow.entities import Metric

from search_spaces import Space
from sweeper.study.records import SweepRecord
from sweeper.tracking.runs import Known, Wanted
from sweeper.tracking.tracked import End


class Noted(ABC):
    """Runs that are written once: what has been written is noted when it is.

    After a kill between the two, one epoch is there twice.

    Args:
        folder: of the sweep's notes.

    Attributes:
        known: see `sweeper.tracking.tracked.Tracked`.
    """

    elsewhere = " or leave it out of `tracking`"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.known: dict[str, Known] = {}

    @abstractmethod
    def log(self, key: str, wanted: Wanted, metrics: Sequence[Metric]) -> None:
        """Writes metrics of a run that are not there yet, and what it is to hold once it has ended."""

    def open(self) -> None:
        """Reads the notes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.known = {
            file.stem: Known(**json.loads(file.read_text())) for file in self._folder.glob("*.json")
        }

    def begin(self, space: Space) -> None:  # noqa: B027
        """Nothing: each run has its settings."""

    def write(self, key: str, wanted: Wanted) -> None:
        """See `sweeper.tracking.tracked.Tracked`."""
        run = self.known.get(key, Known(key, status=""))
        new = [metric for metric in wanted.epochs if metric.step > run.epoch]
        self.log(key, wanted, [*new, *wanted.final])
        epoch = max([run.epoch, *(metric.step for metric in new)])
        self.known[key] = Known(key, wanted.status, described=True, epoch=epoch, tags=dict(wanted.tags))
        partial = self._folder / f"{key}.partial"
        partial.write_text(json.dumps(asdict(self.known[key])))
        partial.rename(partial.with_suffix(".json"))

    def finish(self, record: SweepRecord, end: End) -> None:  # noqa: B027
        """Nothing: files stay where the sweep has them."""


def by_step(metrics: Sequence[Metric]) -> Iterator[tuple[int, dict[str, float]]]:
    """Values by their names, for one step after the other, in the order in which they come."""
    for step, of_step in groupby(metrics, key=lambda metric: metric.step):
        yield int(step), {metric.key: metric.value for metric in of_step}
