"""The lock, held by real processes and by a real PostgreSQL."""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mysql import mysql_server
from postgres import Postgres, free_port, server

from sweeper.errors import UserError
from sweeper.storage.lock import only_driver

# Another driver: holds a sweep until its standard input is closed, then says whether it has lost it.
OTHER = """
import sys
from pathlib import Path
from sweeper.errors import UserError
from sweeper.storage.lock import only_driver

try:
    with only_driver(sys.argv[1], Path(sys.argv[2]), sys.argv[3] or None) as lock:
        print("held", flush=True)
        sys.stdin.read()
        print(lock.lost, flush=True)
except UserError as error:
    print(error, flush=True)
"""
REFUSED = "sweep 'one' is running in another process"


class Wire:
    """Carries bytes between a client and the server, and can be cut so that only the client notices."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._ends: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        for end in (self._listener, *(end for pair in self._ends for end in pair)):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # else a thread that reads from it keeps it open
            end.close()

    def cut(self) -> None:
        for near, _ in self._ends:
            near.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                pair = (self._listener.accept()[0], socket.create_connection(("127.0.0.1", self._server)))
                self._ends.append(pair)
                for source, target in (pair, pair[::-1]):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    with server() as postgres:
        yield postgres


@pytest.fixture
def postgres(running: Postgres) -> Postgres:
    """A server that has noticed the end of all drivers of the test before."""
    until(lambda: not sessions(running))
    return running


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def other(folder: Path, url: str | None, name: str = "one") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, name, str(folder), url or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield other
    for process in started:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def sessions(postgres: Postgres) -> list[int]:
    """Processes of the server that serve the locks of drivers."""
    with postgres.connect() as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s ORDER BY pid", ("sweeper %",)
        )
        return [pid for (pid,) in found]


def holders(postgres: Postgres) -> list[int]:
    """Processes of the server that hold the lock of a driver."""
    with postgres.connect() as connection:
        found = connection.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
        return [pid for (pid,) in found]


def refused(folder: Path, url: str | None) -> bool:
    try:
        with only_driver("one", folder, url):
            return False
    except UserError as error:
        assert str(error) == REFUSED
        return True


@pytest.mark.slow
def test_a_folder_has_one_driver_until_it_dies(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    driver = start(tmp_path, None)
    assert said(driver) == "held"
    assert refused(tmp_path, None) and refused(tmp_path, f"sqlite:///{tmp_path}/study.db")
    assert not refused(tmp_path / "other", None)
    driver.kill()
    driver.wait()
    assert not refused(tmp_path, None)


@pytest.mark.slow
def test_a_file_of_sqlite_has_one_driver_from_wherever(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    driver = start(tmp_path / "here", f"sqlite:///{tmp_path}/study.db")
    assert said(driver) == "held"
    assert refused(tmp_path / "there", f"sqlite:///{tmp_path}/link/study.db")
    assert said(start(tmp_path / "two", f"sqlite:///{tmp_path}/study.db", "two")) == "held"
    assert not refused(tmp_path / "there", f"sqlite:///{tmp_path}/other.db")
    driver.kill()
    driver.wait()
    assert not refused(tmp_path / "there", f"sqlite:///{tmp_path}/study.db")


def without_locks(monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    """The answer of a file system without locks: none can be mounted here."""

    def flock(file: object, operation: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, reason)
    for url in (None, f"sqlite:///{tmp_path}/study.db"):
        said_of_it = pytest.raises(UserError, match=r"cannot be locked.*PostgreSQL")
        with said_of_it as caught, only_driver("one", tmp_path, url):
            pass
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_server_keeps_drivers_apart_where_files_have_no_locks(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, errno.ENOLCK)
    with only_driver("one", tmp_path / "here", postgres.url):
        assert refused(tmp_path / "there", postgres.url)


def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    said_of_it = pytest.raises(UserError, match=r"lock: cannot be locked.*Is a directory")
    with said_of_it, only_driver("one", tmp_path, None):
        pass


def test_what_a_sweep_raises_is_not_said_of_its_lock(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the sweep"), only_driver("one", tmp_path, None):
        raise OSError(errno.EACCES, "of the sweep")


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    with mysql_server() as url:
        yield url


@pytest.mark.slow
def test_mysql_has_one_driver_until_it_dies(
    mysql: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    driver = start(here, mysql)
    assert said(driver) == "held"
    assert refused(there, mysql)
    assert said(start(tmp_path / "two", mysql, "two")) == "held"
    driver.kill()
    driver.wait()
    until(lambda: not refused(there, mysql), seconds=5)


@pytest.mark.slow
def test_a_database_has_one_driver_until_it_dies(
    postgres: Postgres, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    driver = start(here, postgres.url)
    assert said(driver) == "held"
    assert refused(there, postgres.url)
    assert said(start(there, postgres.url)) == REFUSED
    assert said(start(tmp_path / "two", postgres.url, "two")) == "held"
    assert not refused(tmp_path / "elsewhere", postgres.create_database("another"))
    driver.kill()
    driver.wait()
    until(lambda: not refused(there, postgres.url), seconds=5)


@pytest.mark.slow
def test_it_is_taken_again_after_a_restart(postgres: Postgres, tmp_path: Path) -> None:
    with only_driver("one", tmp_path / "here", postgres.url) as lock:
        postgres.stop()
        time.sleep(4)
        postgres.start()
        until(lambda: refused(tmp_path / "there", postgres.url))
        assert lock.lost is None
    assert not refused(tmp_path / "there", postgres.url)


@pytest.mark.slow
def test_its_own_dead_connection_is_no_other_driver(postgres: Postgres, tmp_path: Path) -> None:
    with Wire(postgres.port) as wire:
        url = postgres.url.replace(f":{postgres.port}/", f":{wire.port}/")
        with only_driver("one", tmp_path / "here", url) as lock:
            (before,) = sessions(postgres)
            wire.cut()
            assert sessions(postgres) == [before]
            until(lambda: holders(postgres) not in ([before], []))
            assert lock.lost is None
            assert refused(tmp_path / "there", postgres.url)


@pytest.mark.slow
def test_it_is_lost_when_another_driver_was_faster(
    postgres: Postgres, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    slower = start(tmp_path / "here", postgres.url)
    assert said(slower) == "held"
    slower.send_signal(signal.SIGSTOP)
    with postgres.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", sessions(postgres))
    with only_driver("one", tmp_path / "there", postgres.url) as lock:
        slower.send_signal(signal.SIGCONT)
        time.sleep(10)
        output, _ = slower.communicate()
        assert output.strip() == f"{REFUSED}, which has begun while the database was away"
        assert lock.lost is None


def test_a_database_that_is_away_is_said_at_once(tmp_path: Path) -> None:
    url = f"postgresql://u:s3cret@127.0.0.1:{free_port()}/db"
    with pytest.raises(UserError, match="does not answer") as caught, only_driver("one", tmp_path, url):
        pass
    assert "s3cret" not in str(caught.value)
