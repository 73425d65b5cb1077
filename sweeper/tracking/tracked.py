"""What a tracker is: a place that keeps the runs of a sweep, and is told of them by `Tracker`."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from search_spaces import Space
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.tracking.projection import Epochs
from sweeper.tracking.runs import Known, Wanted


@dataclass(frozen=True)
class End:
    """How a sweep ends.

    Attributes:
        status: of the parent run.
        artifacts: files or folders by their place in the parent run.
        winner: the recommended trial and the folder of its adapter; None where there is none.
    """

    status: str
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    winner: tuple[TrialRecord, Path] | None = None


class Tracked(Protocol):
    """The runs of one sweep in one place. For one thread.

    Attributes:
        place: what a person calls it.
        elsewhere: how another place is named, as the end of a sentence on one that refuses.
        known: the runs that are there, by their keys.
    """

    elsewhere: str
    known: dict[str, Known]

    @property
    def place(self) -> str:
        """See above."""

    def open(self) -> None:
        """Finds which runs there are."""

    def begin(self, space: Space) -> None:
        """Writes what a sweep has from its beginning, beside its run."""

    def write(self, key: str, wanted: Wanted) -> None:
        """Writes what the run lacks; it is made if there is none."""

    def finish(self, record: SweepRecord, end: End) -> None:
        """Writes what a sweep has at its end, beside its runs."""


class Follows(Protocol):
    """Hears of a sweep as it stands: a `Tracker`, or several."""

    def sync(self, record: SweepRecord, epochs: Mapping[str, Epochs] | None = None) -> None:
        """See `Tracker.sync`."""

    def close(self, record: SweepRecord, end: End) -> None:
        """See `Tracker.close`."""


Opener = Callable[[Callable[[str], None], threading.Event], Tracked]
"""Makes the runs, given whom to tell of an outage, and what is set when nobody waits any more."""
