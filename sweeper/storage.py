"""Where a sweep's study is kept."""

import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", ExperimentalWarning)


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """An Optuna storage: the journal file by default, or any SQLAlchemy URL."""
    if url is not None:
        return get_storage(url)
    return JournalStorage(JournalFileBackend(str(journal)))


def mend_journal(journal: Path) -> None:
    """Makes a journal readable and writable again after its writer was killed.

    Cuts off a half-written last line, behind which nothing could be read, and removes the lock that the
    dead writer held. Only for the one who holds the sweep's own lock.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists() and not (data := journal.read_bytes()).endswith(b"\n"):
        journal.write_bytes(data[: data.rfind(b"\n") + 1])
