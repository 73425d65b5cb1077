"""A real PostgreSQL server of a test's own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

# It would have to be written otherwise in a URL, and is not to be seen in any message.
PASSWORD = "s3cret@/word"
_MISSING = "these tests start a PostgreSQL server, which is not here: apt-get install postgresql"


class Postgres:
    """A server on a port of 127.0.0.1, with a user ``sweeper``, who has a password, and their database."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the database, for SQLAlchemy."""
        return f"postgresql+psycopg://sweeper:s3cret%40%2Fword@127.0.0.1:{self.port}/sweeper"

    def start(self) -> None:
        """Starts the server; it answers when this returns."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [binary("postgres"), "-D", self._folder / "data", *arguments],
                stdout=log,
                stderr=log,
                **unprivileged(),
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops the server: as an administrator would, or by SIGQUIT as in a crash."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(timeout=60)
            self._server = None

    def create_database(self, name: str) -> str:
        """A further database, empty; its URL."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.removesuffix("sweeper") + name

    def connect(self, database: str = "sweeper") -> psycopg.Connection:
        """A connection to a database of the server."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="sweeper",
            password=PASSWORD,
            dbname=database,
            connect_timeout=2,
            autocommit=True,
        )

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def server() -> Iterator[Postgres]:
    """A server that runs, and is gone afterwards with all that it kept."""
    # Not pytest's folder, into which the server's user may not look.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, "postgres")
        subprocess.run(
            [
                binary("initdb"),
                *("--pgdata", folder / "data", "--username", "sweeper", "--auth", "scram-sha-256"),
                *("--pwfile", password, "--no-sync", "--encoding", "UTF8", "--locale", "C"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **unprivileged(),
        )
        postgres = Postgres(folder)
        try:
            postgres.start()
            with postgres.connect("postgres") as connection:
                connection.execute("CREATE DATABASE sweeper")
            yield postgres
        finally:
            postgres.stop(signal.SIGQUIT)


def binary(name: str) -> str:
    """One of the server's programs, which Debian keeps off the path."""
    folder = (
        shutil.which("pg_config")
        and subprocess.run(
            ["pg_config", "--bindir"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    found = shutil.which(name, path=os.pathsep.join([folder or "", os.environ["PATH"]]))
    if found is None:
        raise RuntimeError(_MISSING)
    return found


def unprivileged() -> dict[str, Any]:
    """How a program is started that refuses to run as root: as Debian's user of the server."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
