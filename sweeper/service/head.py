"""Ray's head for a service that is to start one: with a token of its own, and gone when the service is."""

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from sweeper.errors import UserError
from sweeper.service.settings import ACCESS

_DRIVERS = 4  # side by side; a further one waits
_SECONDS = 180.0  # that Ray may take to start
_STOPPING = 60.0  # that it may take to end
_SHOWN = 20  # lines of its log, if it does not start
_DEATH_OF_PARENT = 1  # prctl's PR_SET_PDEATHSIG
# What would lead drivers elsewhere, and what lets people into the service.
_KEPT_BACK = (*ACCESS, "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "SWEEPER_SERVER")
# Without it Ray listens where other machines reach it, whatever --node-ip-address says. Its name is that of
# the systems where this is Ray's default.
_ONE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextmanager
def own_head() -> Iterator[dict[str, str]]:
    """A head for the length of a service; the environment that leads to it.

    All of its ports listen on loopback alone, and ask for a token made anew.
    Drivers run on it with the service's environment, but for its tokens. When it ends they end with it; their
    sweeps can be resumed.

    Raises:
        UserError: it does not start.
    """
    port, token = _free_port(), secrets.token_hex(32)
    access = {"RAY_ADDRESS": f"http://127.0.0.1:{port}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    # The path of a Unix socket has room for 107 characters, of which Ray needs most itself.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "start.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                _command(port, folder),
                env=_environment(access),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        try:
            _await(access, process, log)
            yield access
        finally:
            _stop(process)


def _command(port: int, folder: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--port=0", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"),
        *(f"--dashboard-port={port}", f"--dashboard-agent-listen-port={_free_port()}"),
        *(f"--ray-client-server-port={_free_port()}", f"--temp-dir={folder}", "--disable-usage-stats"),
        f'--resources={{"driver": {_DRIVERS}}}',
    ]


def _environment(access: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _KEPT_BACK}
    ray = {name: value for name, value in access.items() if name != "RAY_ADDRESS"}
    # A driver waits for as long as it takes; one that is stopped ends its sweep cleanly.
    patience = {"RAY_JOB_START_TIMEOUT_SECONDS": "inf", "RAY_JOB_STOP_WAIT_TIME_S": "120"}
    return {**kept, **ray, **patience, **_ONE_MACHINE}


def _end_with_parent() -> None:
    """A service that was killed leaves no Ray behind. Linux alone can do this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGTERM)


def _await(access: dict[str, str], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Waits until the head takes jobs."""
    headers = {"Authorization": f"Bearer {access['RAY_AUTH_TOKEN']}"}
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{access['RAY_ADDRESS']}/api/jobs/", headers=headers, timeout=10).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    end = "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN:])
    raise UserError(f"Ray does not start on this machine; give --address to join a cluster. It says:\n{end}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOPPING)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
