"""Trained models that the service writes for those who take them away."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sweeper.formats import Format
from sweeper.service import archive, command
from sweeper.service.errors import ServiceError
from sweeper.service.turns import turn

_MOST = 4  # models that are kept at once, for as long as they are fetched
_WRITING = 900.0  # seconds that writing one may take: its pre-trained model may have to be fetched
_SENDING = 3600.0  # seconds that fetching one may take


class Exports:
    """Writes one model at a time, by the command line in a process of its own.

    Args:
        home: the folder that sweeps are in.
        root: the folder for what is being fetched; nothing else is in it.
    """

    def __init__(self, home: Path, root: Path) -> None:
        self._home, self._root = home, root
        # A service that was killed leaves what it was sending.
        shutil.rmtree(root, ignore_errors=True)
        self._kept, self._writing = asyncio.Semaphore(_MOST), asyncio.Lock()

    @asynccontextmanager
    async def folder(self, sweep: str, model: str, form: Format) -> AsyncIterator[Path]:
        """A folder as ``python -m sweeper export`` writes it, for as long as it is needed.

        Args:
            sweep: its name.
            model: key of one of its finished models.
            form: the format.

        Raises:
            ServiceError: 409, it cannot be written; 503, too many are fetched, or it takes too long.
        """
        async with turn(self._kept, f"{_MOST} other models are being fetched"):
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._root) as scratch:
                to = Path(scratch) / "model"
                await self._run(sweep, model, f"--to={to}", f"--format={form}")
                yield to

    async def register(self, sweep: str, model: str, name: str) -> str:
        """Makes a model a version of a registered model of MLflow; what the command line says of it.

        Raises:
            ServiceError: as for `folder`.
        """
        return await self._run(sweep, model, f"--register={name}")

    async def _run(self, sweep: str, model: str, *options: str) -> str:
        async with turn(self._writing, "other models are being written"):
            try:
                async with asyncio.timeout(_WRITING):
                    done, said = await command.run(self._home, "export", sweep, f"--trial={model}", *options)
            except TimeoutError:
                raise ServiceError(503, "writing the model takes too long") from None
        if not done:
            raise ServiceError(409, said)
        return said


class Delivery(Response):
    """Has a folder written and sends it as an archive; where the client hangs up, either ends at once.

    Args:
        folder: what is sent; it is needed no longer once it is left.
        headers: of the answer.
    """

    def __init__(self, folder: AbstractAsyncContextManager[Path], headers: Mapping[str, str]) -> None:
        super().__init__(media_type=archive.TYPE)
        self._folder, self._given = folder, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        await _while_there(receive, self._deliver(send))

    async def _deliver(self, send: Send) -> None:
        async with self._folder as folder:
            packed = archive.Archive(folder)
            headers = {**self._given, "Content-Length": str(packed.size)}
            answer = StreamingResponse(packed, headers=headers, media_type=archive.TYPE)
            async with asyncio.timeout(_SENDING):
                await answer.stream_response(send)


async def _while_there(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Does the work; it is cancelled where the client hangs up."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
