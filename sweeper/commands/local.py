"""The sweeps that are kept here: in this working directory, or in a storage."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sweeper.api import load
from sweeper.commands.options import say, show
from sweeper.commands.watch import Look
from sweeper.driver.progress import is_over, sweep_line, under_way
from sweeper.errors import UserError
from sweeper.report import front_table
from sweeper.storage import folders
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.records import SweepRecord
from sweeper.study.sweep_study import SweepStudy


class Local:
    """What `sweeper.commands.remote.Remote` is for a service.

    Args:
        storage: URL of the Optuna storage; None for what each sweep's folder notes.
    """

    def __init__(self, storage: str | None) -> None:
        self._storage = storage

    def show_all(self) -> None:
        """A line a sweep: of all in the storage if it is named, else of those in this working directory."""
        if self._storage:
            storage = open_storage(self._storage, Path())
            for name in SweepStudy.names(storage):
                say(sweep_line(SweepStudy(name, storage).record()))
            return
        for name in folders.names():
            try:
                say(load(name))
            except UserError as error:
                say(f"{name}: {error}")

    def show(self, name: str) -> None:
        """How far a sweep is, what is under way, and its front."""
        show, _ = self.view(name)()
        show()

    def view(self, name: str) -> Look:
        """What `show` shows, as things stand whenever it is called."""
        sweep = load(name, storage=self._storage)

        def look() -> tuple[Callable[[], None], bool]:
            record = sweep.record
            over = is_over(record)
            left = not over and not sweep.running
            return partial(_show, record, left), over or left

        return look

    def report(self, name: str) -> None:
        """Writes the report as the sweep stands now."""
        say(f"report: {load(name, storage=self._storage).report()}")

    def compare(self, names: Sequence[str], to: Path) -> None:
        """Writes the report of several sweeps as they stand now."""
        from sweeper.report.compared import write_compared

        records = [load(name, storage=self._storage).record for name in dict.fromkeys(names)]
        say(f"report: {write_compared(records, to)}")


def _show(record: SweepRecord, left: bool) -> None:
    """How a sweep stands, and how to go on with one that was left before its end."""
    say(sweep_line(record))
    if any(run.state == "running" for run in record.runs):
        show(under_way(record))
    show(front_table(record))
    if left:
        say(f"no driver runs; go on with: python -m sweeper resume {record.name}")
