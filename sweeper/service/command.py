"""The command line, run for the service in a process of its own: what takes long holds up nobody else."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from sweeper.service.errors import ServiceError
from sweeper.service.settings import ACCESS

#: What would have a command ask a service in place of doing its work, and what lets people in.
_KEPT_BACK = (*ACCESS, "SWEEPER_SERVER")
_BAD_INPUT = 2


async def run(home: Path, *arguments: str) -> tuple[bool, str]:
    """Runs ``python -m sweeper ARGUMENTS``: whether it was done or refused, and what it has said of that.

    Where the one who waits for it is cancelled, it is ended along with all that it has started.

    Args:
        home: the folder to run it in.
        arguments: the command and what it is given.

    Raises:
        ServiceError: 503, the command has failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _KEPT_BACK}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sweeper", *arguments,
        cwd=home, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        said, refused = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode not in (0, _BAD_INPUT):
        sys.stderr.buffer.write(refused)
        raise ServiceError(
            503, f"`{arguments[0]}` has failed, with status {process.returncode}; the service's log says why"
        )
    done = process.returncode == 0
    # Of what is refused, what libraries have printed is not part of the answer.
    return done, (said if done else refused).decode("utf-8", "replace").strip()
