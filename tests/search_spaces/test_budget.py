"""A budget in blocks."""

from typing import Literal

import pytest
from pydantic import ValidationError

from search_spaces import Budget


@pytest.mark.parametrize(
    ("fraction", "total", "blocks"),
    [
        (0.0625, 32, 2),
        (0.0625, 48, 3),
        (0.0625, 24, 2),
        (0.05, 48, 2),
        (1.0, 7, 7),
        (0.015625, 32, 1),
        (0.5, 5, 3),
    ],
)
def test_a_fraction_is_rounded_to_the_nearest_block(fraction: float, total: int, blocks: int) -> None:
    assert Budget(active_fraction=fraction).count(total) == blocks


@pytest.mark.parametrize(("blocks", "total"), [(1, 32), (32, 32)])
def test_a_number_is_itself(blocks: int, total: int) -> None:
    assert Budget(active_blocks=blocks).count(total) == blocks


def test_more_blocks_than_there_are_cannot_be_active() -> None:
    with pytest.raises(ValueError, match="33 blocks are asked for, the model has 32"):
        Budget(active_blocks=33).count(32)


def test_a_fraction_that_rounds_to_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.01 of 32 blocks is 0\.32, which rounds to none"):
        Budget(active_fraction=0.01).count(32)


@pytest.mark.parametrize("both", [{}, {"active_blocks": 1, "active_fraction": 0.5}])
def test_exactly_one_of_the_two_is_given(both: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="exactly one of"):
        Budget.model_validate(both)


@pytest.mark.parametrize(
    ("tolerance", "total", "message"),
    [
        (2, 32, "2 fewer than 2 would let zero active blocks be inside the budget; use at most 1"),
        (7, 32, "7 fewer than 2 would let zero active blocks be inside the budget; use at most 1"),
        (1, 2, "1 more than 2 blocks is 3, the model has 2; use at most 0"),
    ],
)
def test_a_fraction_meets_its_tolerance_once_the_blocks_are_counted(
    tolerance: int, total: int, message: str
) -> None:
    budget = Budget(active_fraction=2 / total, rule="exactly", tolerance=tolerance)
    with pytest.raises(ValueError, match=f"budget.tolerance: {message}"):
        budget.count(total)


def test_a_tolerance_reaches_the_first_block_and_the_last() -> None:
    budget = Budget(active_blocks=3, rule="exactly", tolerance=2)
    assert budget.count(5) == 3
    with pytest.raises(ValueError, match="2 more than 3 blocks is 5, the model has 4; use at most 1"):
        budget.count(4)


@pytest.mark.parametrize(
    ("rule", "tolerance", "inside"),
    [("at_most", 0, {0, 1, 2, 3}), ("exactly", 0, {3}), ("exactly", 2, {1, 2, 3, 4, 5})],
)
def test_what_is_inside_a_budget_exceeds_it_by_nothing(
    rule: Literal["at_most", "exactly"], tolerance: int, inside: set[int]
) -> None:
    budget = Budget(active_blocks=3, rule=rule, tolerance=tolerance)
    assert {active for active in range(9) if budget.excess(active, 3) <= 0} == inside
    assert budget.excess(8, 3) == 5 - tolerance
