"""What each further block buys."""

from dataclasses import replace

import pytest

from sweeper.study.blocks import by_blocks, enough_blocks
from sweeper.study.records import SweepRecord, TrialRecord

TRIAL = TrialRecord(
    key="trial-0000",
    label="0",
    group="0",
    method="selective_lora",
    role="trial",
    state="complete",
    parameters={},
    metrics={},
    active=(),
    feasible=True,
    reason=None,
)


def sweep(*models: tuple[int, float, float], state: str = "complete") -> SweepRecord:
    """Of one path, whose models are given by their blocks, ID accuracy and forgetting."""
    points = tuple(
        replace(
            TRIAL,
            key=f"trial-0000-blocks-{blocks}-{place}",
            point=f"blocks-{blocks}-{place}",
            state=state,
            metrics={"id_accuracy": accuracy, "forgetting": forgetting, "active_blocks": blocks},
        )
        for place, (blocks, accuracy, forgetting) in enumerate(models)
    )
    trial = replace(TRIAL, points=points)
    return SweepRecord("made_up", {}, tuple("abcdefgh"), 2, "at_most", 1, {}, (trial,), (), ())


def test_the_best_model_at_each_number_covers_most_of_the_square() -> None:
    record = sweep((8, 90, 10), (4, 88, 0), (4, 95, 30), (1, 70, 0))
    assert {n: m.metrics["id_accuracy"] for n, m in by_blocks(record).items()} == {1: 70, 4: 88, 8: 90}
    assert by_blocks(sweep((4, 88, 0), state="running")) == {}


@pytest.mark.parametrize(
    ("models", "enough"),
    [
        # One more block buys 20 points, four more buy 4, eight more 2.
        ([(1, 60, 0), (2, 80, 0), (4, 82, 0), (8, 84, 0)], 2),
        # Each doubling buys as much: there is no knee.
        ([(1, 60, 0), (2, 70, 0), (4, 80, 0), (8, 90, 0)], None),
        # Fewer forget less, and are worth more.
        ([(1, 80, 0), (4, 90, 2), (8, 91, 20)], 4),
        ([(1, 60, 0), (8, 90, 0)], None),
    ],
)
def test_enough_is_where_a_further_block_buys_less(
    models: list[tuple[int, float, float]], enough: int | None
) -> None:
    assert enough_blocks(sweep(*models)) == enough
