"""A space and Optuna."""

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces import Space, load_space
from sweeper.search.suggest import grid, suggest, trials_of

SHIPPED = Path(__file__).parents[3] / "spaces" / "clip_lambda.yaml"

PARAMETERS = (
    "search.parameters={method.score_lr: {low: 0.01, high: 1, log: true}, method.rank: {choices: [1, 16]},"
    " training.epochs: {low: 1, high: 10, step: 4}, training.batch_size: {low: 8, high: 64, log: true},"
    " training.warmup: {low: 0, high: 0.5, step: 0.2}, method.alpha: {choices: [null, 8]},"
    " method.active_blocks: {low: 1, high: 4}, method.penalty: {choices: [mean, sum]},"
    " training.weight_decay: {low: 0, high: 1}}"
)


def shipped(overrides: list[str]) -> Space:
    """The shipped space, with a sampler that asks for no price, and changes."""
    return load_space(SHIPPED, ["search.sampler=tpe", *overrides])


def suggestions(
    overrides: list[str], sampler: optuna.samplers.BaseSampler, count: int
) -> list[dict[str, Any]]:
    space = shipped(overrides)
    found = []

    def objective(trial: optuna.Trial) -> float:
        found.append(suggest(space, trial))
        assert trial.params == found[-1]
        return 0.0

    optuna.create_study(sampler=sampler).optimize(objective, n_trials=count)
    return found


def test_every_suggestion_is_a_trial_of_the_space() -> None:
    space = shipped([PARAMETERS])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = suggestions([PARAMETERS], optuna.samplers.RandomSampler(seed=0), 60)
    for values in found:
        assert list(values) == list(space.search.parameters)
        flat = space.with_values(values).flat()
        assert {path: flat.get(path) for path in values} == values
    drawn = {path: {values[path] for values in found} for path in found[0]}
    assert drawn["method.rank"] == {1, 16}
    assert drawn["training.epochs"] == {1, 5, 9}
    assert drawn["training.warmup"] == {0.0, 0.2, 0.4}
    assert drawn["method.active_blocks"] == {1, 2, 3, 4}
    assert drawn["method.alpha"] == {None, 8}
    assert drawn["method.penalty"] == {"mean", "sum"}
    assert all(isinstance(value, int) and 8 <= value <= 64 for value in drawn["training.batch_size"])
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in drawn["training.weight_decay"])


def test_a_log_range_draws_every_order_of_magnitude_alike() -> None:
    decades = ["search.parameters={method.lambda: {low: 0.01, high: 10, log: true}}"]
    drawn = suggestions(decades, optuna.samplers.RandomSampler(seed=0), 300)
    below_one_tenth = sum(values["method.lambda"] < 0.1 for values in drawn) / len(drawn)
    assert 0.25 < below_one_tenth < 0.42


def test_the_grid_is_every_combination_once() -> None:
    overrides = [
        "search.sampler=grid",
        "search.parameters={method.rank: {low: 2, high: 4}, training.lr: {low: 0.1, high: 0.35, step: 0.1},"
        " method.lambda: {choices: [0, 1]}}",
    ]
    values = grid(shipped(overrides))
    assert values == {"method.rank": [2, 3, 4], "training.lr": [0.1, 0.2, 0.3], "method.lambda": [0, 1]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = suggestions(overrides, optuna.samplers.GridSampler(values, seed=0), 18)
    assert {tuple(point.values()) for point in drawn} == set(product(*values.values()))


def test_an_endless_range_has_no_grid() -> None:
    with pytest.raises(ValueError, match="without a step"):
        grid(load_space(SHIPPED))


def test_nothing_searched_is_nothing_suggested() -> None:
    assert suggestions(["search.parameters={}"], optuna.samplers.RandomSampler(seed=0), 1) == [{}]


@pytest.mark.parametrize(
    ("sampler", "asked", "trials"), [("grid", 10, 4), ("grid", 3, 3), ("random", 10, 10)]
)
def test_a_grid_ends_with_its_points(sampler: str, asked: int, trials: int) -> None:
    parameters = "search.parameters={method.rank: {choices: [1, 2]}, training.lr: {choices: [0.1, 0.2]}}"
    space = shipped([parameters, f"search.sampler={sampler}", f"search.trials={asked}"])
    assert trials_of(space) == trials
