"""A limit on the time that a pack of trials may take in one process."""

import faulthandler
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

# Seconds beyond the limit after which code that never comes back to Python loses its process.
GRACE = 60.0
_STDERR = 2


class TimeLimit:
    """Counts the time of all that it runs, together.

    Code that is in Python when the time is up is interrupted there. Code that hangs elsewhere, as in a
    driver of a GPU, cannot be: then the process ends, with a traceback on stderr, and whoever started it
    can try again.

    Args:
        minutes: what is run may take so long in all; None for no limit.
    """

    def __init__(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._spent = 0.0

    def run(self, work: Callable[[], T]) -> T:
        """What the work returns.

        Raises:
            TimeoutError: the time is up, or was already.
        """
        if self._minutes is None:
            return work()
        start = time.monotonic()
        try:
            left = 60 * self._minutes - self._spent
            if left <= 0:
                raise _TimeIsUp
            with _process_ends_after(left + GRACE), _interrupted_after(left):
                return work()
        except _TimeIsUp:
            unit = "minute" if self._minutes == 1 else "minutes"
            text = f"ran longer than {self._minutes:g} {unit} (resources.minutes_per_trial)"
            raise TimeoutError(text) from None
        finally:
            self._spent += time.monotonic() - start


class _TimeIsUp(BaseException):
    """No Exception, and no OSError as TimeoutError is: nothing that handles its own errors may swallow it."""


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Raises `_TimeIsUp` in the code within. Only a main thread gets signals; another is not interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _process_ends_after(seconds: float) -> Iterator[None]:
    """Ends the process from a thread of C code, which needs nothing of Python."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
