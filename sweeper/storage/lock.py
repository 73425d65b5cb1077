"""The lock that keeps a second driver out of a sweep."""

import errno
import fcntl
import hashlib
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import UserError
from sweeper.storage.optuna_storage import LIBPQ, mend_journal, opening, parse_url, shown
from sweeper.storage.outages import Patience, Waiting

_PING = 3.0
# What a file system says that has no locks, as Lustre's and some of NFS.
_NO_LOCKS = dict.fromkeys(
    (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL),
    "mount it with locks (Lustre: -o flock; NFS: without nolock), give a --storage on PostgreSQL",
)
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

    The operating system lets go of a folder and of a file of SQLite if the driver dies. A server lets go at
    once if the driver's process dies, and PostgreSQL within half a minute if its machine does. While a server
    restarts nothing is held there; the lock is then taken again in the background.

    Args:
        name: of the sweep.
        folder: the sweep's; made if it is missing.
        url: of the storage; None for the journal file.
        waiting: as for `optuna_storage.open_storage`, if the database is away at the beginning.

    Raises:
        UserError: another driver holds the sweep, nothing can be locked here, or nobody waits for a database
            that does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parsed = parse_url(url) if url else None
    session = _SESSIONS.get(parsed.get_backend_name()) if parsed else None
    with ExitStack() as stack:
        stack.enter_context(_locked(folder / "lock", name, alone=session is None))
        if parsed is not None and (database := _file(parsed)):
            stack.enter_context(_locked(Path(f"{database}.{name}.lock"), name, alone=True))
        if parsed is None or session is None:
            yield DriverLock()
            return
        patience = Patience(shown(parsed.render_as_string(hide_password=False)), waiting)
        with opening(parsed):
            lock = stack.enter_context(session(name, parsed).held(patience))
        yield lock


def is_driven(name: str, folder: Path, url: str | None) -> bool:
    """Whether a driver runs a sweep, named as for `only_driver`; where its folder is not here, it may."""
    if not folder.is_dir():
        return True
    try:
        with only_driver(name, folder, url):
            return False
    except UserError:
        return True


@contextmanager
def mended(name: str, folder: Path, journal: Path, url: str | None) -> Iterator[None]:
    """Lets a process write that is no driver, into a journal that a killed driver may have left half-written.

    Where a driver runs, it has mended the journal itself.

    Args:
        name, folder, url: as for `only_driver`.
        journal: the sweep's, if there is no URL.
    """
    with ExitStack() as stack:
        if url is None:
            with suppress(UserError):
                stack.enter_context(only_driver(name, folder, url))
                mend_journal(journal)
        yield


def _file(url: URL) -> Path | None:
    """The file of a database of SQLite, where there is one and its folder exists."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
        return None
    file = Path(url.database).resolve()
    return file if file.parent.is_dir() else None


@contextmanager
def _locked(path: Path, name: str, alone: bool) -> Iterator[None]:
    """Holds a lock on a file; does without where the file system has none and this one is not ``alone``."""
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = stack.pop_all()
    except BlockingIOError:
        raise _taken(name) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS or alone:
            remedy = _NO_LOCKS.get(error.errno or 0, "give yourself the right to write there")
            raise UserError(
                f"{path}: cannot be locked, so a second driver could not be kept out ({error.strerror}); "
                f"{remedy}, or use another folder"
            ) from None
        held = ExitStack()
    with held:
        yield


def _taken(name: str) -> UserError:
    return UserError(f"sweep '{name}' is running in another process")


class _Session(ABC):
    """A connection to a server that holds an advisory lock, and is made again when it breaks."""

    def __init__(self, name: str, url: URL, connect: Mapping[str, Any]) -> None:
        self._name = name
        self._engine = create_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=dict(connect)
        )
        self._connection: Connection | None = None

    @abstractmethod
    def _lock(self, connection: Connection) -> bool:
        """Takes the lock; False if another driver has it."""

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
        self._connection = self._engine.connect()
        if self._lock(self._connection):
            return True
        self._close()
        return False

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


class _Postgres(_Session):
    """The lock is on a number of 64 bits, in the database."""

    def __init__(self, name: str, url: URL) -> None:
        digest = hashlib.blake2b(f"sweeper/{name}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big", signed=True)
        # Tells this driver's own connections, also one that only the server holds to be alive, from others'.
        self._mark = f"sweeper {uuid.uuid4().hex[:12]} {name}"[:63]
        super().__init__(name, url, {**LIBPQ, "application_name": self._mark})

    def _lock(self, connection: Connection) -> bool:
        connection.exec_driver_sql(_KEEPALIVE)
        while not connection.exec_driver_sql(_TAKE, (self._key,)).scalar_one():
            holders = connection.exec_driver_sql(_HOLDERS, (self._key,)).all()
            if any(mark != self._mark for mark, _ in holders):
                return False
            for _, process in holders:
                connection.exec_driver_sql("SELECT pg_terminate_backend(%s)", (process,))
            time.sleep(0.1)
        return True


class _MySql(_Session):
    """The lock is on a name of up to 64 characters, which the whole server shares."""

    def __init__(self, name: str, url: URL) -> None:
        self._key = hashlib.blake2b(f"{url.database}/{name}".encode(), digest_size=16).hexdigest()
        super().__init__(name, url, {"connect_timeout": LIBPQ["connect_timeout"]})

    def _lock(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql("SELECT GET_LOCK(%s, 0)", (self._key,)).scalar_one())


_SESSIONS: dict[str, Callable[[str, URL], _Session]] = {
    "postgresql": _Postgres,
    "mysql": _MySql,
    "mariadb": _MySql,
}
