"""What is tried again, how often, and when a sweep pauses because of its machines."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from sweeper.driver.progress import duration

# A trial whose process ends is tried this many times more, unless it has saved an epoch in between.
RETRIES = 2
# So many faults of a machine, with no progress in between, are not left to the next trial.
IN_A_ROW = 3
# Seconds of a pause: until a first pack tries whether the fault has gone, at most between two, and in all.
FIRST, LONGEST, PATIENCE = 5.0, 60.0, 3600.0


class Faults:
    """Counts what goes wrong without progress, and pauses the sweep if machines are to blame.

    A trial's process that ends counts against the trial. A fault of a machine counts against it only where
    trials have made progress since the one before: if nothing does, the machine is to blame.

    Args:
        say: tells a person.

    Attributes:
        say: as given.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._tries: Counter[str] = Counter()
        self._in_a_row = 0
        self._paused_at: float | None = None
        self._next_try = self._pause = 0.0

    @property
    def doubtful(self) -> bool:
        """Whether it is open who is to blame for a fault: then other trials go first."""
        return 0 < self._in_a_row < IN_A_ROW

    def progressed(self, key: str) -> None:
        """A trial has reported."""
        del self._tries[key]
        self._in_a_row = 0
        if self._paused_at is not None:
            self.say("goes on: what the machines lacked is there again")
            self._paused_at = None

    def enough(self, keys: Sequence[str], machine: str | None) -> bool:
        """Notes what has ended the process of some trials; whether they are not to be tried as before.

        Args:
            keys: of the trials.
            machine: what is wrong with the machine, in a line; None if it is not known to be to blame.
        """
        if machine is None or self._in_a_row == 0:
            self._tries.update(keys)
        if machine is not None:
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                self._wait(machine)
        if any(self._tries[key] > RETRIES for key in keys):
            for key in keys:
                del self._tries[key]
            return True
        return False

    def _wait(self, machine: str) -> None:
        now = time.monotonic()
        if self._paused_at is None:
            self._paused_at, self._pause = now, FIRST
            self.say(
                f"paused after {IN_A_ROW} faults of a machine in a row: {machine}; a trial tries again every "
                f"{duration(LONGEST)}, and after {duration(PATIENCE)} the sweep stops, to be resumed"
            )
        self._next_try = now + self._pause
        self._pause = min(2 * self._pause, LONGEST)

    def holds_back(self) -> bool:
        """Whether no pack is to begin now. While the sweep is paused, one begins every now and then.

        Raises:
            KeyboardInterrupt: the pause has been long enough.
        """
        if self._paused_at is None:
            return False
        now = time.monotonic()
        if now - self._paused_at > PATIENCE:
            self.say(f"nothing has changed for {duration(PATIENCE)}")
            raise KeyboardInterrupt
        if now < self._next_try:
            return True
        self._next_try = now + LONGEST
        return False
