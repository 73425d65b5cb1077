"""Ctrl-C, SIGTERM and a terminal that closes: a clean stop that can be resumed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Takes SIGTERM and SIGHUP as Ctrl-C. All raise KeyboardInterrupt, within `put_off` only on request.

    An exception that may come at any line could cut a write to the study in two. While trials run, the first
    signal is therefore noted, and raised by `check`; a second one does not wait.
    """

    def __init__(self) -> None:
        self._asked = False
        self._waits = False

    @contextmanager
    def handled(self) -> Iterator[Self]:
        """Puts the handlers in, and the earlier ones back. Only a main thread may, and gets signals."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        # nohup has a process ignore that its terminal closes.
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        numbers = [number for number in _SIGNALS if not (ignored and number == signal.SIGHUP)]
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Leaves it to `check` to raise."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has come."""
        if self._asked:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not self._waits:
            raise KeyboardInterrupt
        self._asked = True
