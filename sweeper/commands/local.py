"""The sweeps that are kept here: in this working directory, or in a storage."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

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
        record = load(name, storage=self._storage).record
        say(sweep_line(record))
        for table in _tables(record):
            show(table)

    def view(self, name: str) -> Look:
        """What `show` prints, as things stand whenever it is called."""
        sweep = load(name, storage=self._storage)

        def look() -> tuple[RenderableType, bool]:
            record = sweep.record
            return Group(Text(sweep_line(record)), *_tables(record)), is_over(record)

        return look

    def report(self, name: str) -> None:
        """Writes the report as the sweep stands now."""
        say(f"report: {load(name, storage=self._storage).report()}")

    def compare(self, names: Sequence[str], to: Path) -> None:
        """Writes the report of several sweeps as they stand now."""
        from sweeper.report.compared import write_compared

        records = [load(name, storage=self._storage).record for name in dict.fromkeys(names)]
        say(f"report: {write_compared(records, to)}")


def _tables(record: SweepRecord) -> list[Table]:
    """What is under way, if anything is, and the front."""
    running = any(run.state == "running" for run in record.runs)
    return [*([under_way(record)] if running else []), front_table(record)]
