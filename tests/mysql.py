"""A real server of MariaDB of a test's own."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from postgres import free_port
from sqlalchemy.exc import OperationalError


@contextmanager
def mysql_server() -> Iterator[str]:
    """The URL of a database that is gone afterwards."""
    pytest.importorskip("pymysql")
    if shutil.which("mariadbd") is None:
        pytest.skip("no MariaDB on the path (apt-get install mariadb-server)")
    with tempfile.TemporaryDirectory(prefix="mysql-") as name:
        data, port = Path(name) / "data", free_port()
        place = [f"--datadir={data}", "--user=root"]
        install = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", *place]
        subprocess.run(install, check=True, capture_output=True)
        options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={name}/socket"]
        server = subprocess.Popen(
            ["mariadbd", "--no-defaults", *place, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(f"mysql+pymysql://root@127.0.0.1:{port}/test")
            yield f"mysql+pymysql://root@127.0.0.1:{port}/test"
        finally:
            server.terminate()
            server.wait(timeout=60)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            sqlalchemy.create_engine(url).connect().close()
            return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
