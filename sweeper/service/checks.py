"""Spaces, checked as the command line checks them: by it, in a process of its own."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from search_spaces import Space
from sweeper.service import spaces
from sweeper.service.errors import ServiceError
from sweeper.service.models import Checked
from sweeper.service.settings import ACCESS

_SECONDS = 180.0  # that a check may take, which times some steps of training
_BAD_INPUT = 2


class Checks:
    """Checks one space at a time: a check loads its model and trains a little."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._checking = asyncio.Lock()

    async def of(self, space: Space) -> Checked:
        """What ``python -m sweeper validate`` says of a space.

        Raises:
            ServiceError: 503, it takes too long, or the command fails.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = spaces.keep(space, Path(folder))
            try:
                async with asyncio.timeout(_SECONDS), self._checking:
                    status, text = await self._run("validate", str(file))
            except TimeoutError:
                raise ServiceError(503, "the check takes too long; it may still be run") from None
        if status not in (0, _BAD_INPUT):
            raise ServiceError(503, "the check has failed; the service's log says why")
        return Checked(sound=status == 0, text=text.replace(f"{file}", "space.yaml").strip())

    async def _run(self, *arguments: str) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if name not in ACCESS}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sweeper", *arguments,
            cwd=self._home, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            said, refused = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        status = process.returncode or 0
        if status == 1:
            sys.stderr.buffer.write(refused)
        # Of a refused space what libraries warn of is not part of the answer.
        return status, (refused if status == _BAD_INPUT else said).decode("utf-8", "replace")
