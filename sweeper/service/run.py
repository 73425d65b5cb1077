"""A service from its start to its end."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.errors import UserError
from sweeper.service.head import own_head
from sweeper.service.settings import Settings

_STOPPING = 30  # seconds in which what is being answered may end: a model may be fetched for an hour
_LOCAL = "local"  # Ray's word for a cluster that is started, not joined


def run(settings: Settings, host: str, port: int, address: str | None, say: Callable[[str], None]) -> None:
    """Serves until it is asked to end.

    Args:
        settings: of the service.
        host: address to listen on.
        port: port to listen on.
        address: of a Ray cluster; None for RAY_ADDRESS, or where there is none, for a head of its own.
        say: tells a person how far it is.

    Raises:
        UserError: the port is taken, or Ray does not start.
    """
    # The port is taken before Ray is started, which takes longer.
    with _listening(host, port) as taken, _ray(address or os.environ.get("RAY_ADDRESS") or _LOCAL, say):
        _serve(settings, taken, f"http://{host}:{port}", say)


def _serve(settings: Settings, taken: socket.socket, url: str, say: Callable[[str], None]) -> None:
    # Imported here, since Ray reads its environment when it is imported.
    import uvicorn

    from sweeper.service import audit
    from sweeper.service.app import create_app
    from sweeper.service.jobs import Jobs

    audit.show()
    config = uvicorn.Config(
        create_app(settings),
        log_level="warning",
        server_header=False,
        # Believed of proxies that are named alone: else a client could say that it is another one.
        proxy_headers=settings.proxies is not None,
        forwarded_allow_ips=settings.proxies or "",
        timeout_graceful_shutdown=_STOPPING,
    )
    if trouble := Jobs(Path.cwd()).trouble():
        say(f"{trouble}; until then sweeps are shown, but none can be started")
    say(f"serving at {url}")
    uvicorn.Server(config).run(sockets=[taken])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on: {os.strerror(error.errno or 0)}"
        ) from None


@contextmanager
def _ray(where: str, say: Callable[[str], None]) -> Iterator[None]:
    """Has Ray's client find the cluster, joined or started."""
    if where != _LOCAL:
        os.environ["RAY_ADDRESS"] = where
        yield
        return
    say("starting Ray on this machine; with --address a cluster is joined")
    # The server ends at the signal and sends it again: what was started is then to be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with own_head() as access:
        os.environ.update(access)
        yield
