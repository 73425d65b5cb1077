"""The benchmarks of the budget: small runs, and the arithmetic of their tables."""

import csv
from pathlib import Path

import pytest

from benchmarks import cost_of_budget, exactness, quality
from benchmarks._trials import Row


@pytest.mark.slow
def test_exactness_counts_trials_and_tries_their_lambda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactness, "BUDGETS", (2, 5))
    monkeypatch.setattr(exactness, "SEEDS", 1)
    path = tmp_path / "exactness.csv"
    exactness.measure(path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["budget"], row["active_blocks"]) for row in rows] == [("2", "2"), ("5", "5")]
    assert float(rows[0]["lambda"]) > float(rows[1]["lambda"]) > 0
    exactness.summarise(path)
    assert "2 of 2 trials ended at exactly their budget." in path.with_suffix(".md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["controlled", "bisection", "budget"])
def test_cost_of_a_budget_counts_trainings(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_of_budget, "RESULTS", tmp_path)
    monkeypatch.setattr(cost_of_budget, "SEEDS", 2)
    monkeypatch.setattr(cost_of_budget, "MOST", 2)
    cost_of_budget.measure(way)
    with (tmp_path / "cost_of_budget" / f"{way}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["seed"] for row in rows) == ["0", "1"]
    assert {row["trainings"] for row in rows} <= ({"1"} if way == "controlled" else {"", "1", "2"})
    cost_of_budget.summarise()
    assert cost_of_budget.WAYS[way] in (tmp_path / "cost_of_budget.md").read_text()


def row(way: str, rate: str, validation: float, test: float, active: int = 2) -> Row:
    return {
        "way": way,
        "budget": "2",
        "rate": rate,
        "seed": "0",
        "trainings": "1",
        "active_blocks": str(active),
        "id_accuracy": str(validation),
        "test/id_accuracy": str(test),
        "test/retained_accuracy": "90.0",
    }


def test_a_ways_rate_is_chosen_on_validation() -> None:
    rows = [row("last", "0.1", v, t) for v, t in ((90, 10), (80, 20))]
    rows += [row("last", "0.2", v, t) for v, t in ((84, 99), (85, 99))]
    assert {own["rate"] for own in quality._at_its_rate(rows)} == {"0.1"}


def test_a_star_is_for_what_differs_from_random_and_only_what_is_in_budget_counts() -> None:
    control = [row("random", "0.1", 80, value) for value in (50.0, 51.0, 52.0)]
    far = [row("last", "0.1", 80, value) for value in (70.0, 71.0, 72.0)] + [
        row("last", "0.1", 80, 0, active=3)
    ]
    near = [row("last", "0.1", 80, value) for value in (50.0, 52.0, 51.5)]
    assert quality._cells(far, control)[:4] == ["0.1", "3 of 4", "1.0", "71.0 ± 2.5 *"]
    assert "*" not in "".join(quality._cells(near, control) + quality._cells(control, control))
