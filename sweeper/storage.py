"""Where a sweep's study is kept."""

import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sweeper.errors import UserError

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", ExperimentalWarning)


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """An Optuna storage: the journal file by default, or any SQLAlchemy URL.

    Raises:
        UserError: nothing can be opened at the URL.
    """
    if url is None:
        return JournalStorage(JournalFileBackend(str(journal)))
    try:
        return get_storage(url)
    except (SQLAlchemyError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--storage: {shown(url)} cannot be opened: {reason}") from None


def shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the URL"


def mend_journal(journal: Path) -> None:
    """Makes a journal readable and writable again after its writer was killed.

    Cuts off a half-written last line, behind which nothing could be read, and removes the lock that the
    dead writer held. Only for the one who holds the sweep's own lock.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists() and not (data := journal.read_bytes()).endswith(b"\n"):
        journal.write_bytes(data[: data.rfind(b"\n") + 1])
