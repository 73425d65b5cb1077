"""The time of a pack: in Python, in C code, over several steps and in other threads."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from trainables.engine import time_limit
from trainables.engine.time_limit import TimeLimit

SECOND = 1 / 60  # minutes


def test_what_is_in_time_gives_its_value_and_leaves_no_alarm() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert TimeLimit(SECOND).run(lambda: 3) == 3
    assert TimeLimit(None).run(lambda: 4) == 4
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before
    time.sleep(1.2)


def test_a_hang_in_python_is_interrupted() -> None:
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^ran longer than 0.01 minutes \(resources.minutes_per_trial\)$"):
        TimeLimit(0.01).run(lambda: time.sleep(30))
    assert 0.5 < time.monotonic() - start < 10
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_code_that_handles_its_own_errors_is_interrupted_too() -> None:
    def stubborn() -> None:
        while True:
            with suppress(Exception):
                time.sleep(30)

    with pytest.raises(TimeoutError, match="ran longer than"):
        TimeLimit(0.5 * SECOND).run(stubborn)


def test_the_time_is_counted_over_all_runs_and_not_between_them() -> None:
    limit = TimeLimit(4 * SECOND)
    for _ in range(2):
        limit.run(lambda: time.sleep(1))
        time.sleep(1)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        limit.run(lambda: time.sleep(30))
    assert 1 < time.monotonic() - start < 3
    with pytest.raises(TimeoutError):
        limit.run(lambda: pytest.fail("the time was up"))


def test_errors_of_the_work_are_its_own() -> None:
    with pytest.raises(KeyError, match="mine"):
        TimeLimit(SECOND).run(lambda: {}["mine"])
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_another_thread_is_told_before_its_next_step() -> None:
    """Only the main thread can be interrupted."""
    told: list[Any] = []

    def work() -> None:
        limit = TimeLimit(0.5 * SECOND)
        told.append(limit.run(lambda: time.sleep(0.8)))
        try:
            limit.run(lambda: told.append("went on"))
        except TimeoutError as error:
            told.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [None, TimeoutError]


# The sum of a range is taken in C, which looks for no signals.
SCRIPT = """
import time_limit
time_limit.GRACE = 0.5
time_limit.TimeLimit({minutes}).run(lambda: sum(range({numbers})))
print("done")
"""


@pytest.mark.parametrize(
    "minutes, numbers, status, output, error",
    [(SECOND, 10**15, 1, "", "Timeout (0:00:01.5"), (10, 10**5, 0, "done\n", "")],
)
def test_a_hang_that_never_comes_back_to_python_ends_the_process(
    minutes: float, numbers: int, status: int, output: str, error: str
) -> None:
    script = SCRIPT.format(minutes=minutes, numbers=numbers)
    # From its own folder, which saves the import of all that trains.
    here = Path(time_limit.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=here, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (status, output)
    assert error in done.stderr
