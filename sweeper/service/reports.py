"""Reports that the service writes, in a folder of its own: not in the way of a driver that writes one too."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from fastapi.concurrency import run_in_threadpool

from sweeper.report.outcome import write_outcome
from sweeper.service.errors import ServiceError
from sweeper.service.store import Snapshot
from sweeper.storage.folders import SweepFolder

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
_PATIENCE = 120.0  # seconds to wait for another writer


@dataclass(frozen=True, kw_only=True)
class _Folder(SweepFolder):
    """A sweep's folder but for its report, which is under the service's."""

    root: Path

    @property
    def report(self) -> Path:
        """Where the service writes the report."""
        return self.root / self.name


class Reports:
    """Writes one report at a time, and only where something has changed.

    Who waits for another writer takes no thread: the threads are for those who only look.
    """

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
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._writing.acquire()
        except TimeoutError:
            raise ServiceError(503, "other reports are being written; try again in a minute") from None
        try:
            if self._written.get(name) is not snapshot:
                await run_in_threadpool(write_outcome, snapshot.study, _Folder(name, root=self._root))
                self._written[name] = snapshot
        finally:
            self._writing.release()
        path = self._root / name / file
        if not path.exists():
            raise ServiceError(404, f"the report of sweep '{name}' has no {file}")
        return path
