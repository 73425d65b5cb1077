"""What the benchmarks of paths make of rows, on fronts whose areas are known."""

import pandas as pd
import pytest

from benchmarks import path_beside_search, points


def test_the_front_is_chosen_on_validation_and_measured_on_test() -> None:
    row = dict(zip(points._VALIDATION, (80.0, 50.0), strict=True))
    chosen = row | {"test/id_accuracy": 70.0, "test/retained_accuracy": 50.0}
    beaten = {name: value - 1 for name, value in row.items()}
    luckier = beaten | {"test/id_accuracy": 99.0, "test/retained_accuracy": 99.0}
    assert points.front_area([chosen, luckier], points._TEST) == pytest.approx(0.7 * 0.5)


def frame(*rows: tuple[int, float, float, float], seconds: float) -> pd.DataFrame:
    columns = ["active_blocks", "id_accuracy", "retained_accuracy", "epoch"]
    return pd.DataFrame(rows, columns=columns).assign(seconds=seconds)


def test_a_path_has_what_a_search_ends_with_once_a_model_inside_the_budget_covers_as_much() -> None:
    path = frame((8, 90.0, 90.0, 2.0), (2, 60.0, 50.0, 3.0), (1, 80.0, 50.0, 4.0), seconds=10.0)
    search = frame((2, 70.0, 50.0, 3.0), (9, 99.0, 99.0, 48.0), seconds=100.0)
    found = path_beside_search.comparison(path, search, 2)
    assert found == pytest.approx(
        {"plain": 0.35, "path": 0.4, "epochs": 4.0, "of epochs": 4 / 48, "of seconds": 0.1}
    )
    assert path_beside_search.comparison(path[:2], search, 2)["epochs"] is None
    assert path_beside_search.comparison(path, search[1:], 2)["epochs"] == 0  # the search has nothing
