"""Servers and disks that are away for a while: how that is told from a mistake, and how it is outlived."""

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
import requests
from sqlalchemy.exc import DBAPIError

from sweeper.errors import UserError

Waiting = Callable[[str], None]
"""Told once, in one sentence, what is waited for, and once when it is back. May be called in any thread."""

T = TypeVar("T")

_PAUSE = 1.0
# What PostgreSQL and its client say of a connection that will never be had. It has no code: SQLSTATE is known
# only once connected.
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "pg_hba.conf",
    "permission denied",
)
_PASSING_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
# A disk that is full, broken or read-only for now, a mount whose server is away.
_PASSING_FILES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)
# SQLSTATE: connection lost, read-only (a standby), deadlock, out of disk or memory, shut down, system error.
_PASSING = ("08", "25006", "40", "53", "57P", "58")


def outage(error: BaseException) -> str | None:
    """Why the server is away for now, in a line; None if the error is not of that kind.

    Looks through what the error was raised from, since Optuna and MLflow wrap what a driver raises.
    """
    return next((_line(cause) for cause in _causes(error) if _passes(cause)), None)


class UnansweredError(UserError):
    """A server is away and nobody waits for it."""


class Patience:
    """Tries again every second while a server is away, from whatever thread.

    Args:
        server: what a person reads, without a password.
        waiting: told of an outage; None to raise at once.
        given_up: when set, what is being waited for is raised after all.
    """

    def __init__(self, server: str, waiting: Waiting | None, given_up: threading.Event | None = None) -> None:
        self._server = server
        self._waiting = waiting
        self._given_up = given_up or threading.Event()
        self._lock = threading.Lock()
        self._away = False

    def outlast(self, operation: Callable[[bool], T]) -> T:
        """What the operation returns, once the server answers.

        Args:
            operation: is told whether it is tried again: what was tried before may have been done, unseen.

        Raises:
            UnansweredError: the server is away and nobody waits.
        """
        tries = 0
        while True:
            try:
                result = operation(tries > 0)
            except Exception as error:
                reason = outage(error)
                if reason is None:
                    raise
                if self._waiting is None:
                    raise UnansweredError(f"{self._server} does not answer: {reason}") from None
                # A server that was back within a second is not worth a sentence.
                if tries > 0:
                    self._tell(away=True, sentence=f"waiting for {self._server}: {reason}")
                if self._given_up.wait(_PAUSE):
                    raise
                tries += 1
            else:
                self._tell(away=False, sentence=f"{self._server} is back")
                return result

    def _tell(self, away: bool, sentence: str) -> None:
        with self._lock:
            changed, self._away = away != self._away, away
        if changed and self._waiting:
            self._waiting(sentence)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, DBAPIError) and isinstance(error.orig, BaseException):
            yield error.orig
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _passes(error: BaseException) -> bool:
    """Whether waiting helps."""
    if isinstance(error, psycopg.Error):
        if error.sqlstate:
            return error.sqlstate.startswith(_PASSING)
        return isinstance(error, psycopg.OperationalError) and not any(
            words in str(error) for words in _REFUSED
        )
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode & 0xFF in _PASSING_SQLITE
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code >= 500
    if isinstance(error, requests.exceptions.SSLError):
        return False
    if isinstance(error, OSError) and error.errno in _PASSING_FILES:
        return True
    connection = (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError)
    return isinstance(error, (*connection, requests.exceptions.ChunkedEncodingError)) or bool(
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def _line(error: BaseException) -> str:
    if isinstance(error, requests.RequestException) and error.args:
        # Past what urllib3 says of the address and of trying again.
        return str(getattr(error.args[0], "reason", None) or error.args[0])
    return (str(error) or type(error).__name__).strip().splitlines()[0]
