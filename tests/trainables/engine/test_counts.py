from itertools import pairwise

import pytest

from trainables.engine.counts import Fall, Path, falling_count, level_ends

PATH = Path((32, 8, 2, 1), (40, 60, 80, 100))


def test_a_fall_goes_from_all_to_the_count_and_stays() -> None:
    fall = Fall(32, 2, 50)
    counts = [fall.at(step) for step in range(101)]
    assert counts[0] == 32 and set(counts[50:]) == {2}
    assert all(after <= before for before, after in pairwise(counts))
    assert counts[25] == falling_count(0.5, 32, 2) == 2 + round(30 / 8)
    assert [fall.settled(step) for step in (0, 49, 50, 100)] == [False, False, True, True]


def test_a_path_rests_at_each_of_its_counts_to_the_end_of_the_level() -> None:
    counts = [PATH.at(step) for step in range(101)]
    assert all(after <= before for before, after in pairwise(counts))
    assert set(counts[:41]) == {32}
    # In the first half of a level the count falls, in the second half it rests.
    for end, count in zip(PATH.ends[1:], PATH.counts[1:], strict=True):
        assert set(counts[end - 10 : end]) == {count}
    assert counts[100] == 1


def test_what_is_closed_where_a_path_rests_stays_closed() -> None:
    assert [step for step in range(101) if not PATH.settled(step)] == [
        step for step in range(101) if PATH.at(step) not in PATH.counts
    ]
    assert PATH.settled(0) and PATH.settled(55) and not PATH.settled(45)


@pytest.mark.parametrize("steps, levels, dense", [(100, 6, 0.25), (7, 7, 0.01), (11, 2, 0.5), (1000, 9, 0.3)])
def test_levels_share_the_steps_after_the_dense_ones(steps: int, levels: int, dense: float) -> None:
    ends = level_ends(steps, levels, dense)
    lengths = [end - start for start, end in pairwise((0, *ends))]
    assert len(ends) == levels and ends[-1] == steps and min(lengths) >= 1
    assert lengths[0] == max(1, round(dense * steps))
    assert max(lengths[1:]) - min(lengths[1:]) <= 1


def test_more_levels_than_steps_are_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"^6 counts need 6 steps of training, and there are 5$"):
        level_ends(5, 6, 0.25)
    with pytest.raises(ValueError, match="6 counts"):
        level_ends(12, 6, 0.9)
