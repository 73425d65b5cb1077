"""Where a sweep's study is kept."""

import functools
import os
import re
import warnings
from abc import update_abstractmethods
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from sweeper.errors import UserError
from sweeper.storage.outages import Patience, UnansweredError, Waiting, outage

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", ExperimentalWarning)

_HIDDEN = "***"
_SECRETS = re.compile("password|secret|token|key|credential", re.IGNORECASE)
# For libpq: a machine that is gone without a word is noticed after 25 s.
LIBPQ = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# Drivers that open an empty database at the same moment collide at the tables, then at their version.
_COLLISIONS = 3


def open_storage(url: str | None, journal: Path, waiting: Waiting | None = None) -> BaseStorage:
    """An Optuna storage: the journal file by default, or any SQLAlchemy URL.

    Args:
        url: as ``postgresql+psycopg://user:password@host:5432/db``; None for the journal file.
        journal: the journal file.
        waiting: told when the database is away and when it is back; meanwhile every operation waits. None
            to raise at once.

    Raises:
        UserError: nothing can be opened at the URL, or, then and later, nobody waits for a database that does
            not answer.
    """
    if url is None:
        return JournalStorage(PatientJournal(journal, waiting))
    parsed = parse_url(url)
    patience = Patience(shown(url), waiting)
    with opening(parsed):
        database = patience.outlast(lambda again: _open(parsed))
        return PatientStorage(database, patience)  # type: ignore[abstract]  # completed below


def located(url: str, base: Path) -> str:
    """A URL; that of a SQLite file, with an absolute path.

    Args:
        base: the folder that a relative path is meant from.

    Raises:
        UserError: it is no URL of a database.
    """
    parsed = parse_url(url)
    file = parsed.database
    if parsed.get_backend_name() != "sqlite" or not file or file.startswith((":memory:", "file:")):
        return url
    return parsed.set(database=str(base / file)).render_as_string(hide_password=False)


@contextmanager
def opening(url: URL) -> Iterator[None]:
    """Turns what goes wrong in opening a database into a message.

    Raises:
        UserError: something does.
    """
    try:
        yield
    except (SQLAlchemyError, ValueError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        place = shown(url.render_as_string(hide_password=False))
        raise UserError(f"--storage: {place} cannot be opened: {reason}") from None
    except UnansweredError as error:
        raise UserError(f"--storage: the database cannot be opened: {error}") from None


class _Held(JournalFileSymlinkLock):
    """The lock of a backend whose caller holds the file's own."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class PatientJournal(JournalFileBackend):
    """Optuna's journal file; a line that finds no room on the disk is written once there is."""

    def __init__(self, journal: Path, waiting: Waiting | None) -> None:
        super().__init__(str(journal), _Held(str(journal)))
        self._writing = JournalFileSymlinkLock(str(journal))
        self._patience = Patience(str(journal), waiting)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """See `optuna.storages.journal.JournalFileBackend`. A driver writes, and who enqueues a trial."""

        def append(again: bool) -> None:
            self._writing.acquire()
            try:
                self._append(logs)
            finally:
                self._writing.release()

        self._patience.outlast(append)

    def _append(self, logs: list[dict[str, Any]]) -> None:
        size = Path(self._file_path).stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            os.truncate(self._file_path, size)
            raise


class PatientStorage(BaseStorage):
    """A database whose operations are tried again while it is away.

    A connection can break after a commit and before its answer. So an operation that is tried again first
    looks whether it has been done. Only `create_new_trial` without a template is done twice: the trial that
    nobody has seen is left running, as one of a driver that was killed.
    """

    def __init__(self, database: BaseStorage, patience: Patience) -> None:
        self._database = database
        self._patience = patience

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""

        def create(again: bool) -> int:
            try:
                return self._database.create_new_study(directions, study_name)
            except DuplicatedStudyError:
                if not again or study_name is None:
                    raise
                return self.get_study_id_from_name(study_name)

        return self._patience.outlast(create)

    def delete_study(self, study_id: int) -> None:
        """See `optuna.storages.BaseStorage`."""

        def delete(again: bool) -> None:
            try:
                self._database.delete_study(study_id)
            except KeyError:
                if not again:
                    raise

        self._patience.outlast(delete)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""

        def create(again: bool) -> int:
            if again and template_trial is not None:
                for trial in self.get_all_trials(study_id, deepcopy=False, states=(template_trial.state,)):
                    if _content(trial) == _content(template_trial):
                        return self.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            return self._database.create_new_trial(study_id, template_trial)

        return self._patience.outlast(create)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""

        def change(again: bool) -> bool:
            if again and self.get_trial(trial_id).state == state:
                return True
            return self._database.set_trial_state_values(trial_id, state, values)

        return self._patience.outlast(change)


def _patient(name: str) -> Callable[..., Any]:
    """An operation of a storage that can be done twice, tried again while the database is away."""

    @functools.wraps(getattr(BaseStorage, name), updated=())  # not that it is abstract
    def outlasting(self: PatientStorage, *arguments: Any, **named: Any) -> Any:
        operation = getattr(self._database, name)
        return self._patience.outlast(lambda again: operation(*arguments, **named))

    return outlasting


for _name in (name for name in vars(BaseStorage) if not name.startswith("_")):
    if _name not in vars(PatientStorage):
        setattr(PatientStorage, _name, _patient(_name))
update_abstractmethods(PatientStorage)  # type: ignore[type-abstract]


def _content(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.params, trial.user_attrs, trial.system_attrs, trial.values


def _open(url: URL) -> BaseStorage:
    postgres = url.get_backend_name() == "postgresql"
    # Not with SQLite, where a file cannot go away and an option would ask for another kind of pool.
    options = {"pool_pre_ping": True, "connect_args": LIBPQ} if postgres else {}
    for last in (*[False] * (_COLLISIONS - 1), True):
        try:
            storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
            break
        except (IntegrityError, ProgrammingError):
            if last:
                raise
    event.listen(storage.engine, "handle_error", _unwrapped)
    return get_storage(storage)  # caches what does not change any more


def _unwrapped(context: ExceptionContext) -> None:
    """Raises an outage as the driver did. SQLAlchemy's, Optuna would answer by trying again, blindly."""
    error = context.original_exception
    if not context.is_pre_ping and outage(error):
        raise error


def parse_url(url: str) -> URL:
    """The URL of a database, with the driver for PostgreSQL that is installed where none is named.

    Raises:
        UserError: it is no SQLAlchemy URL.
    """
    if (parsed := _parsed(url)) is None:
        raise UserError(
            "--storage: the URL cannot be opened: it is not an SQLAlchemy URL, such as "
            "postgresql+psycopg://user:password@host:5432/db; in a password write @ as %40 and / as %2F"
        )
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def shown(url: str) -> str:
    """The URL of a database or a server without its password and other secrets, as it is printed and kept."""
    if (parsed := _parsed(url)) is None:
        return "the URL"
    hidden = {name: _HIDDEN for name in parsed.query if _SECRETS.search(name)}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


def _parsed(url: str) -> URL | None:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    # The end of a password with an @ is then in the host or the database.
    return None if parsed.host and "@" in parsed.host + (parsed.database or "") else parsed


def mend_journal(journal: Path) -> None:
    """Makes a journal readable and writable again after its writer was killed.

    Cuts off a half-written last line, behind which nothing could be read, and removes the lock that the
    dead writer held. What stays is not written again, so nothing is lost if this is cut off as well. Only
    for the one who holds the sweep's own lock.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists() and not (data := journal.read_bytes()).endswith(b"\n"):
        os.truncate(journal, data.rfind(b"\n") + 1)
