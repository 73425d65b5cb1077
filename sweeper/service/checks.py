"""Spaces, checked as the command line checks them: by it, in a process of its own."""

import asyncio
import tempfile
from pathlib import Path

from search_spaces import Space
from sweeper.service import command, spaces
from sweeper.service.errors import ServiceError
from sweeper.service.models import Checked

_SECONDS = 180.0  # that a check may take, which times some steps of training


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
                    sound, text = await command.run(self._home, "validate", str(file))
            except TimeoutError:
                raise ServiceError(503, "the check takes too long; it may still be run") from None
        return Checked(sound=sound, text=text.replace(f"{file}", "space.yaml"))
