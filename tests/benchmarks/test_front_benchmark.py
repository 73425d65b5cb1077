"""The front's benchmark: its arithmetic beside the sweeper's own, and one small run of all ways."""

import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import front
from sweeper.study.front import hypervolume_history
from sweeper.study.records import SweepRecord, TrialRecord


def rows(*trials: tuple[str, float, float, float, int]) -> pd.DataFrame:
    names = ["state", "id_accuracy", "retained_accuracy", "active_blocks", "epochs"]
    return pd.DataFrame(trials, columns=names)


def test_the_hypervolume_is_that_of_a_sweeps_report() -> None:
    random = np.random.default_rng(0)
    states = ["complete", "pruned"]
    table = rows(
        *(
            (random.choice(states), *random.uniform(20, 100, 2), float(random.integers(1, 4)), 3)
            for _ in range(40)
        )
    )
    trials = tuple(
        TrialRecord(
            key=f"trial-{number:04d}",
            label=str(number),
            group=str(number),
            method="selective_lora",
            role="trial",
            state=row["state"],
            parameters={},
            metrics={"forgetting": 0.0, **{name: row[name] for name in ("id_accuracy", "retained_accuracy")}},
            active=(),
            feasible=row["state"] == "complete" and row["active_blocks"] == front.BUDGET,
            reason=None,
        )
        for number, row in enumerate(table.to_dict("records"))
    )
    record = SweepRecord("s", {}, (), front.BUDGET, "exactly", 40, {}, trials, (), ())
    history = dict(hypervolume_history(record))
    assert len(history) > 5
    curve = front.with_curve(table)
    for number, area in history.items():
        assert curve["hypervolume"][number] == pytest.approx(area)


def test_what_is_outside_the_budget_or_cut_short_costs_epochs_and_counts_for_nothing() -> None:
    run = front.with_curve(
        rows(
            ("complete", 90, 90, 3, 3),
            ("pruned", 90, 90, 2, 1),
            ("failed", math.nan, math.nan, math.nan, 3),
            ("complete", 50, 80, 2, 3),
            ("complete", 80, 50, 2, 3),
        )
    )
    assert list(run["spent"]) == [3, 4, 7, 10, 13]
    # 0.5 x 0.8, then with 0.8 x 0.5 less what they share, 0.5 x 0.5
    assert list(run["hypervolume"]) == pytest.approx([0, 0, 0, 0.4, 0.55])
    assert front.epochs_to(run, 0.5) == 13
    assert front.epochs_to(run, 0) == 10
    assert front.epochs_to(run, 0.6) == math.inf


def test_the_tables_tell_a_run_with_nothing_in_budget_and_a_goal_that_is_not_reached() -> None:
    good, poor, none = (("complete", 90, 90, 2, 3), ("complete", 50, 50, 2, 3), ("complete", 90, 90, 9, 3))
    of_ways = {"controlled": rows(poor, good), "search": rows(none, poor), "plain": rows(none, good)}
    of_other_seed = {"controlled": rows(good), "search": rows(none, poor), "plain": rows(none, none)}
    table = pd.concat(
        front.with_curve(trials).assign(way=way, seed=seed)
        for seed, ways in enumerate((of_ways, of_other_seed))
        for way, trials in ways.items()
    )
    ways = front.way_table(table).set_index("way")
    assert list(ways["runs with none in budget"]) == ["0 of 2", "0 of 2", "1 of 2"]
    assert ways.loc["plain", "trials in budget"] == "1 of 4"
    assert ways.loc["plain", "final hypervolume, median"] == "0.4050"
    assert ways.loc["plain", "95 % interval"] == "0.0000 to 0.8100"

    peer = front.peer_table(table).set_index("seed")
    assert list(peer["controlled: share"]) == ["100%", "50%", "75%"]
    assert list(peer["search: epochs"]) == ["not reached", "6", "not reached"]
    assert list(peer["plain: had it after"]) == ["6", "not reached", "not reached"]


@pytest.mark.slow
def test_a_small_run_writes_its_results_and_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One way is trained; the others are taken to be there, as from a run of that part."""
    work, small = tmp_path / "work", ["--seeds", "0", "--trials", "2", "--epochs", "1"]
    arguments = ["front", *small, "--work", str(work), "--out", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--only", "controlled"])
    front.main()
    assert capsys.readouterr().out == "running controlled-2x1-seed-0\n"
    for way in ("search", "plain"):
        shutil.copy(work / "controlled-2x1-seed-0.csv", work / f"{way}-2x1-seed-0.csv")

    monkeypatch.setattr(sys, "argv", arguments)
    front.main()
    assert capsys.readouterr().out == (tmp_path / "results" / "front.md").read_text() + "\n"
    data = pd.read_csv(tmp_path / "results" / "front.csv")
    assert data.groupby("way")["spent"].max().to_dict() == {"controlled": 2, "plain": 2, "search": 2}
    assert (data["active_blocks"] == front.BUDGET).all()
    assert data["hypervolume"].iloc[-1] > 0.5
    assert (tmp_path / "results" / "front.png").stat().st_size > 5000
