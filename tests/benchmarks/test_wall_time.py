"""The benchmarks of whole sweeps: the arithmetic of wall time and overhead, and a small run of each."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks._results import CORES
from benchmarks.speed import overhead, wall_time

SMALL = ("training.epochs=1", "data.id={source: digits, limit: 200}")


def sweep(seconds: float, *trials: tuple[float, float, float]) -> wall_time.Found:
    """A sweep with trials as (began, took, busy)."""
    names = {"lambda": 1.0, "rank": 4, "epochs": 3, "id_accuracy": 90.0, "forgetting": 1.0}
    rows = [names | {"began": began, "took": took, "busy": busy} for began, took, busy in trials]
    return {"seconds": seconds, "rows": rows}


def test_the_parts_of_a_sweep_are_its_wall_time() -> None:
    found = sweep(60.0, (20.0, 10.0, 4.0), (12.0, 5.0, 3.0), (25.0, 20.0, 9.0))
    assert list(wall_time.parts(found).values()) == [12.0, 33.0, 15.0]
    assert sum(wall_time.parts(found).values()) == found["seconds"]


def test_the_ratio_is_how_many_times_longer_the_plain_script_takes() -> None:
    rounds = [
        {"plain": sweep(80.0, (0, 1, 1)), "sweeper": sweep(10.0, (0, 1, 1))},
        {"plain": sweep(60.0, (0, 1, 1)), "sweeper": sweep(20.0, (0, 1, 1))},
        {"plain": sweep(90.0, (0, 1, 1)), "sweeper": sweep(15.0, (0, 1, 1))},
    ]
    row = wall_time.times_row(16, rounds)
    assert (row["plain / sweeper"], row["plain, s"]) == ("6 (3 to 8)", "80 (60 to 90)")


def test_the_seconds_of_a_pack_count_once() -> None:
    packed = sweep(30.0, (0.0, 10.0, 8.0), (0.0, 10.0, 8.0), (10.0, 10.0, 7.0))
    row = wall_time.work_row(3, "sweeper", [packed])
    assert (row["training and validation, core-s"], row["trials a pack"]) == ("15.0", "1.5")
    assert row["of the cores' time with trials"] == f"{15 / (CORES * 20):.0%}"


@pytest.mark.slow
def test_a_small_run_of_both_sides_ends_equal_and_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--trials", "2", "--rounds", "1", *(word for setting in SMALL for word in ("--set", setting))]
    out = tmp_path / "results"
    arguments = ["wall_time", *asked, "--work", str(tmp_path / "work"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    wall_time.main()
    assert "running sweeper-2-round-0" in capsys.readouterr().out
    (both,) = json.loads((out / "wall_time.json").read_text())["sweeps"]["2"]
    for found in both.values():
        assert [row["epochs"] for row in found["rows"]] == [1, 1]
        assert all(seconds > 0 for seconds in wall_time.parts(found).values())
        assert 0 < sum(wall_time.packs(found)) < CORES * wall_time.parts(found)["trials"]
        # Trained again alone, by neither side.
        assert len(found["checked"]) == 2
        assert all(c[name] < 1e-3 for c in found["checked"] for name in wall_time.COMPARED)
    wall_time.main()
    assert capsys.readouterr().out == (out / "wall_time.md").read_text() + "\n"
    assert (out / "wall_time.png").stat().st_size > 5000


def test_a_part_within_a_part_is_counted_once() -> None:
    class Worker:
        def outer(self) -> str:
            time.sleep(0.05)
            return self.inner()

        def inner(self) -> str:
            time.sleep(0.1)
            return "done"

    clock, start = overhead.Clock(), time.monotonic()
    for name in ("outer", "inner"):
        clock.wrap(Worker, name, name)
    assert Worker().outer() == "done"
    took = time.monotonic() - start
    assert clock.seconds["inner"] >= 0.1 and clock.seconds["outer"] >= 0.05
    assert 0.15 <= sum(clock.seconds.values()) <= took


def event(start: float, end: float, done: bool, **parts: float) -> dict[str, Any]:
    rest = end - start - sum(parts.values())
    return {"start": start, "end": end, "done": done, "parts": parts | {"rest of the steps": rest}}


def test_the_seconds_of_the_actors_are_those_of_the_places() -> None:
    first = [
        event(102, 103, True),
        event(104, 108, False, training=3.0),
        event(108.5, 112, True, training=2.0, evaluation=1.0),
        event(113, 115, True, training=1.5),
    ]
    second = [event(103, 104, True), event(105, 119, True, training=13.0)]
    seconds = overhead.place_seconds([first, second], start=100, end=120)
    assert sum(seconds.values()) == pytest.approx(2 * 20)
    assert seconds["actors start"] == 2 + 3
    assert seconds["no pack left"] == 5 + 1
    assert seconds["between epochs"] == 0.5
    assert seconds["between packs"] == 1 + 1 + 1
    assert seconds["training"] == 19.5


def test_the_table_adds_up_and_says_what_is_not_explained() -> None:
    found: overhead.Found = {
        "seconds": 100.0,
        "parts": {"training": 60.0, "evaluation": 25.0, "Ray starts": 9.0},
    }
    better = {"seconds": 100.0, "parts": {"training": 80.0, "evaluation": 15.0}}
    worse = {"seconds": 100.0, "parts": {"training": 10.0}}
    assert overhead.middle([worse, found, better]) is found
    rows = {row["part"]: row for row in overhead.part_rows([worse, found, better])}
    assert (rows["unexplained"]["s"], rows["unexplained"]["of the sweep"]) == ("6.00", "6.0%")
    assert rows["unexplained"]["over the rounds, s"] == "6 (5 to 90)"
    assert (rows["**overhead**"]["s"], rows["**overhead**"]["of the sweep"]) == ("15.00", "15.0%")
    whole = float(rows.pop("**whole sweep**")["s"])
    rows.pop("**overhead**")
    assert sum(float(row["s"]) for row in rows.values()) == pytest.approx(whole)


@pytest.mark.slow
def test_a_small_sweep_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("baselines=[linear]", *SMALL)
    asked = ["--trials", "2", "--rounds", "1", *(word for setting in settings for word in ("--set", setting))]
    monkeypatch.setattr(sys, "argv", ["overhead", *asked, "--out", str(tmp_path)])
    overhead.main()
    (found,) = json.loads((tmp_path / "overhead.json").read_text())["rounds"]
    # One epoch a trial: there is nothing between epochs. A front may be empty after two trials.
    assert set(overhead.PARTS) - set(found["parts"]) <= {"between epochs", "adapters of the front"}
    assert set(found["parts"]) < set(overhead.PARTS)
    assert all(seconds >= 0 for seconds in found["parts"].values())
    # Steps between the parts take next to nothing, so a part that is left out shows.
    assert abs(overhead.unexplained(found)) < 0.1 * found["seconds"]
    assert 0 < overhead.overhead(found) < 1
    assert (tmp_path / "overhead.png").stat().st_size > 5000
