"""What is tried again, and when a sweep pauses."""

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workplace import Workplace, run_arguments, runs, trials

from sweeper.driver import faults
from sweeper.driver.faults import Faults

BUDGET = "budget={active_blocks: 32}"
FULL = "OSError: [Errno 28] No space left on device"


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_trial_whose_process_ends_is_tried_twice_more(said: list[str]) -> None:
    counted = Faults(said.append)
    assert [counted.enough(["a"], None) for _ in range(3)] == [False, False, True]
    assert not counted.holds_back() and said == []


def test_only_tries_without_progress_count(said: list[str]) -> None:
    counted = Faults(said.append)
    for _ in range(10):
        assert not counted.enough(["a"], None)
        assert not counted.enough(["a"], None)
        counted.progressed("a")


def test_a_fault_that_nothing_gets_past_pauses_the_sweep(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it comes, it is never a trial's; one tries now and then whether it has gone."""
    monkeypatch.setattr(faults, "FIRST", 0.05)
    monkeypatch.setattr(faults, "LONGEST", 0.1)
    counted = Faults(said.append)
    for key in "abc":
        assert not counted.holds_back()
        assert not counted.enough([key], FULL)
    assert [sentence.split("; ")[0] for sentence in said] == [
        f"paused after 3 faults of a machine in a row: {FULL}"
    ]
    for _ in range(5):
        assert counted.holds_back()
        time.sleep(0.12)
        assert not counted.holds_back() and counted.holds_back()
        assert not counted.enough(["a"], FULL)
    counted.progressed("b")
    assert not counted.holds_back()
    assert said[1:] == ["goes on: what the machines lacked is there again"]


def test_a_fault_that_others_get_past_is_the_trials_own(said: list[str]) -> None:
    counted = Faults(said.append)
    ended = []
    for _ in range(3):
        ended.append(counted.enough(["a"], FULL))
        counted.progressed("b")
    assert ended == [False, False, True]
    assert said == []


def test_a_pause_has_an_end(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "PATIENCE", 0.1)
    counted = Faults(said.append)
    for key in "abc":
        counted.enough([key], FULL)
    time.sleep(0.2)
    with pytest.raises(KeyboardInterrupt):
        counted.holds_back()


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Workplace]:
    """A working directory on a real file system of 32 MB, MLflow's database elsewhere."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system lets no file system be mounted")
    yield Workplace(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all room that there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 2**16
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2
    return ballast


@pytest.mark.slow
def test_a_full_disk_costs_a_pause_and_no_trial(small_place: Workplace) -> None:
    """The disk of the journal, the checkpoints and MLflow's database fills while trials run."""
    folder = small_place.folder
    process = small_place.start(
        *run_arguments("search={sampler: random, trials: 6}", "baselines=[]", "training.epochs=3", BUDGET)
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))  # type: ignore[arg-type]
    reader.start()
    try:
        wait(lambda: any("trial-0000 " in line for line in lines), process, lines)
        ballast = fill(folder)
        wait(lambda: any("No space left" in line for line in lines), process, lines)
        time.sleep(10)
        assert process.poll() is None
        ballast.unlink()
        assert process.wait(timeout=180) == 0, "".join(lines)
    finally:
        process.kill()
        reader.join()
    told = trials(small_place)
    assert list(told["state"]) == ["complete"] * 6
    assert not any("Traceback" in line for line in lines), "".join(lines)
    finished = [run for run in runs(small_place) if run.data.tags["role"] == "trial"]
    assert len(finished) == 6 and {run.info.status for run in finished} == {"FINISHED"}


def wait(holds: Callable[[], bool], process: subprocess.Popen[str], lines: list[str]) -> None:
    deadline = time.monotonic() + 180
    while not holds():
        assert process.poll() is None and time.monotonic() < deadline, "".join(lines)
        time.sleep(0.1)
