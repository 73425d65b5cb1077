"""A budget in blocks."""

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
