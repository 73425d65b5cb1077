"""A service from its start to its end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from sweeper.driver.cluster import LOCAL, whereabouts
from sweeper.service import audit
from sweeper.service.app import create_app
from sweeper.service.head import own_head
from sweeper.service.jobs import Jobs
from sweeper.service.settings import Settings


def run(settings: Settings, host: str, port: int, address: str | None, say: Callable[[str], None]) -> None:
    """Serves until it is asked to end.

    Args:
        settings: of the service.
        host: address to listen on.
        port: port to listen on.
        address: of a Ray cluster; None for RAY_ADDRESS, or where there is none, for a head of its own.
        say: tells a person how far it is.

    Raises:
        UserError: Ray does not start.
    """
    audit.show()
    config = uvicorn.Config(
        create_app(settings),
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        # Believed of proxies that are named alone: else a client could say that it is another one.
        proxy_headers=settings.proxies is not None,
        forwarded_allow_ips=settings.proxies or "",
    )
    taken = config.bind_socket()  # before Ray is started, which takes longer
    # The server ends at the signal and sends it again: what was started is then to be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _ray(whereabouts(address), say):
        if trouble := Jobs(Path.cwd()).trouble():
            say(f"{trouble}; until then sweeps are shown, but none can be started")
        say(f"serving at http://{host}:{port}")
        uvicorn.Server(config).run(sockets=[taken])


@contextmanager
def _ray(where: str, say: Callable[[str], None]) -> Iterator[None]:
    """Has Ray's client find the cluster, joined or started."""
    if where != LOCAL:
        os.environ["RAY_ADDRESS"] = where
        yield
        return
    say("starting Ray on this machine; with --address a cluster is joined")
    with own_head() as access:
        os.environ.update(access)
        yield
