"""Limits beside the budget, and values that are tried first."""

from typing import Any

import pytest

from search_spaces import Space, SpaceError, load_space

METRICS = {"id_accuracy": 91.0, "forgetting": 1.5, "active_blocks": 2, "probe/glyphs": 80.0}


def space(*overrides: str) -> Space:
    return load_space("spaces/clip_lambda.yaml", overrides)


def limited(*limits: str) -> Space:
    return space(f"search.limits={list(limits)!r}")


@pytest.mark.parametrize(
    "limit, excess",
    [
        ("forgetting <= 1", 0.5),
        ("forgetting<=1.5", 0.0),
        ("id_accuracy >= 95", 4.0),
        ("id_accuracy >= 9e1", -1.0),
        ("probe/glyphs >= 80", 0.0),
        (" active_blocks  <=  1 ", 1.0),
    ],
)
def test_a_limit_is_missed_by_what_lies_outside_of_it(limit: str, excess: float) -> None:
    assert limited(limit).excesses(METRICS, budget=2) == [0, excess]
    assert limited(limit).excesses({**METRICS, "active_blocks": 5}, budget=2)[0] == 3


@pytest.mark.parametrize(
    "limits, told",
    [
        (
            ["forgetting < 1"],
            "search.limits.0: expects a metric, <= or >=, and a number",
        ),
        (["forgetting <= some"], "search.limits.0: expects a number behind <=, got 'some'"),
        (["forgeting <= 1"], "search.limits.0: unknown metric 'forgeting'; did you mean 'forgetting'?"),
        (["test/forgetting <= 1"], "search.limits.0: a search sees validation data only; write forgetting"),
        (["probe/glyfs >= 3"], "search.limits.0: there is no probe/glyfs; did you mean 'probe/glyphs'?"),
        (["forgetting <= 1", "forgetting <= 1"], "search.limits.1: 'forgetting <= 1' is given twice"),
        ([3], "search.limits.0: expects text, got 3"),
    ],
)
def test_what_is_no_limit_is_refused(limits: list[Any], told: str) -> None:
    with pytest.raises(SpaceError) as refused:
        space(f"search.limits={limits!r}")
    assert told in str(refused.value)


def test_a_limit_is_kept_and_shown() -> None:
    assert limited("forgetting <= 1", "id_accuracy >= 80").flat()["search.limits"] == (
        "forgetting <= 1,id_accuracy >= 80"
    )


@pytest.mark.parametrize(
    "values, told",
    [
        (
            "[{method.lamda: 1}]",
            "enqueue.0.method.lamda: is not searched; did you mean 'method.lambda'?",
        ),
        (
            "[{method.lambda: 1000}]",
            "enqueue.0.method.lambda: 1000 is not among what is searched of it",
        ),
        ("[{}, {method.rank: 3}]", "search.enqueue.1.method.rank: 3 is not among what is searched of it"),
        ("[{method.rank: true}]", "search.enqueue.0.method.rank: true is not among what is searched of it"),
        ("[{method.rank: [1]}]", "search.enqueue.0.method.rank: expects one value"),
    ],
)
def test_what_cannot_be_tried_first_is_refused(values: str, told: str) -> None:
    with pytest.raises(SpaceError) as refused:
        space(f"search.enqueue={values}")
    assert told in str(refused.value)


def test_a_grid_has_an_order_of_its_own() -> None:
    grid = "search={sampler: grid, trials: 2, parameters: {method.rank: {choices: [1, 2]}}}"
    with pytest.raises(SpaceError, match=r"search\.enqueue: the grid has an order of its own"):
        space(grid, "search.enqueue=[{method.rank: 1}]")


def test_values_within_steps_may_be_tried_first() -> None:
    stepped = "search.parameters.training.lr={low: 0.1, high: 0.5, step: 0.2}"
    assert space(stepped, "search.enqueue=[{training.lr: 0.3}]").search.enqueue == ({"training.lr": 0.3},)
    with pytest.raises(SpaceError, match=r"0\.4 is not among"):
        space(stepped, "search.enqueue=[{training.lr: 0.4}]")
