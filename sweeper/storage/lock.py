"""The lock that keeps a second driver out of a sweep."""

import fcntl
import hashlib
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import UserError
from sweeper.storage.optuna_storage import LIBPQ, parse_url, shown
from sweeper.storage.outages import Patience, Waiting

_PING = 3.0
# The server asks a silent driver's machine for a sign of life: one that is gone lets go after 25 s.
_KEEPALIVE = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
    "SET tcp_user_timeout = 25000; SET idle_session_timeout = 0"
)
_TAKE = "SELECT pg_try_advisory_lock(%s)"
# The server keeps the key in two halves.
_HOLDERS = """
    SELECT coalesce(a.application_name, ''), a.pid
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
      AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
"""


class DriverLock:
    """Held while a sweep runs.

    Attributes:
        lost: None while the sweep is this driver's own; else why it no longer is, in a sentence. The driver
            is then to stop, without another write.
    """

    def __init__(self) -> None:
        self.lost: str | None = None


@contextmanager
def only_driver(
    name: str, folder: Path, url: str | None, waiting: Waiting | None = None
) -> Iterator[DriverLock]:
    """Keeps other drivers out of a sweep: those that see its folder, and those that see its database.

    The operating system lets go of the folder if the driver dies. PostgreSQL lets go at once if the driver's
    process dies, and within half a minute if its machine does. While PostgreSQL restarts nothing is held
    there; the lock is then taken again in the background.

    Args:
        name: of the sweep.
        folder: the sweep's; made if it is missing.
        url: of the storage; None for the journal file. Only PostgreSQL has a lock of its own.
        waiting: as for `optuna_storage.open_storage`, if the database is away at the beginning.

    Raises:
        UserError: another driver holds the sweep, or nobody waits for a database that does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(name) from None
        parsed = parse_url(url) if url else None
        if parsed is None or parsed.get_backend_name() != "postgresql":
            yield DriverLock()
            return
        session = _Session(name, parsed)
        patience = Patience(shown(parsed.render_as_string(hide_password=False)), waiting)
        with session.held(patience) as lock:
            yield lock


def _taken(name: str) -> UserError:
    return UserError(f"sweep '{name}' is running in another process")


class _Session:
    """A connection to PostgreSQL that holds an advisory lock, and is made again when it breaks."""

    def __init__(self, name: str, url: URL) -> None:
        self._name = name
        digest = hashlib.blake2b(f"sweeper/{name}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big", signed=True)
        # Tells this driver's own connections, also one that only the server holds to be alive, from others'.
        self._mark = f"sweeper {uuid.uuid4().hex[:12]} {name}"[:63]
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={**LIBPQ, "application_name": self._mark},
        )
        self._connection: Connection | None = None

    @contextmanager
    def held(self, patience: Patience) -> Iterator[DriverLock]:
        """Takes the lock and watches over it on a thread of its own."""
        if not patience.outlast(lambda again: self._take()):
            raise _taken(self._name)
        lock, done = DriverLock(), threading.Event()
        thread = threading.Thread(target=self._watch, args=(lock, done), name="driver lock", daemon=True)
        thread.start()
        try:
            yield lock
        finally:
            done.set()
            thread.join()
            self._close()

    def _take(self) -> bool:
        """Connects and takes the lock; False if another driver has it."""
        self._connection = connection = self._engine.connect()
        connection.exec_driver_sql(_KEEPALIVE)
        while not connection.exec_driver_sql(_TAKE, (self._key,)).scalar_one():
            holders = connection.exec_driver_sql(_HOLDERS, (self._key,)).all()
            if any(mark != self._mark for mark, _ in holders):
                self._close()
                return False
            for _, process in holders:
                connection.exec_driver_sql("SELECT pg_terminate_backend(%s)", (process,))
            time.sleep(0.1)
        return True

    def _watch(self, lock: DriverLock, done: threading.Event) -> None:
        while lock.lost is None and not done.wait(_PING):
            try:
                if self._connection is not None:
                    self._connection.exec_driver_sql("SELECT 1")
                elif not self._take():
                    lock.lost = f"{_taken(self._name)}, which has begun while the database was away"
            except SQLAlchemyError:
                self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
