"""Reports that the service writes, in a folder of its own: not in the way of a driver that writes one too."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi.concurrency import run_in_threadpool

from sweeper.report.compared import write_compared
from sweeper.report.outcome import write_outcome
from sweeper.service.errors import ServiceError
from sweeper.service.store import Snapshot
from sweeper.service.turns import turn
from sweeper.storage.folders import SweepFolder
from sweeper.study.records import SweepRecord

#: What a report may consist of.
FILES = (
    "index.html",
    "front.png",
    "front.json",
    "front.csv",
    "front.tex",
    "trials.csv",
    "trials.parquet",
    "confirmed.csv",
    "curves.csv",
    "recommended.yaml",
)
_OTHERS = "other reports are being written"


@dataclass(frozen=True, kw_only=True)
class _Folder(SweepFolder):
    """A sweep's folder but for its report, which is under the service's."""

    root: Path

    @property
    def report(self) -> Path:
        """Where the service writes the report."""
        return self.root / self.name


class Reports:
    """Writes one report at a time, and only where something has changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writing = asyncio.Lock()
        self._written: dict[str, Snapshot] = {}

    async def file(self, snapshot: Snapshot, file: str) -> Path:
        """A file of the report as the sweep stands now; one of `FILES`.

        Raises:
            ServiceError: 404, this report has no such file; 503, others are being written.
        """
        name = snapshot.record.name
        async with turn(self._writing, _OTHERS):
            if self._written.get(name) is not snapshot:
                await run_in_threadpool(write_outcome, snapshot.study, _Folder(name, root=self._root))
                self._written[name] = snapshot
        path = self._root / name / file
        if not path.exists():
            raise ServiceError(404, f"the report of sweep '{name}' has no {file}")
        return path

    async def compared(self, records: Sequence[SweepRecord]) -> bytes:
        """The page of several sweeps on one plot.

        Raises:
            ServiceError: 503, others are being written.
        """
        async with turn(self._writing, _OTHERS):
            return await run_in_threadpool(_compared, records)


def _compared(records: Sequence[SweepRecord]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_compared(records, Path(folder)).read_bytes()
