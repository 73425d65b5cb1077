import numpy as np
import pytest
from sklearn.utils import shuffle

from trainables.data.splits import WHOLE, Part, limited, parts, positions, rows_of

LABELS = np.asarray(shuffle(np.repeat([0, 1, 2, 3], [100, 37, 5, 1]), random_state=0))


def cut(shares: tuple[float, ...], labels: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    takes = parts(WHOLE, shares, whole_test=False)
    return [rows_of(takes[name], labels, seed) for name in ("train", "val", "test")]


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0, 0.4, 0.6), (1, 0, 0), (0.33, 0.33, 0.34)])
def test_every_picture_is_in_one_split_and_every_class_keeps_its_shares(shares: tuple[float, ...]) -> None:
    splits = cut(shares, LABELS)
    assert np.array_equal(np.sort(np.concatenate(splits)), np.arange(len(LABELS)))
    for rows, share in zip(splits, shares, strict=True):
        assert np.array_equal(rows, np.sort(rows))
        counts = np.bincount(LABELS[rows], minlength=4)
        assert (np.abs(counts - share * np.bincount(LABELS)) < 1).all()


def test_a_split_depends_on_its_seed_alone() -> None:
    again, other = cut((0.6, 0.2, 0.2), LABELS), cut((0.6, 0.2, 0.2), LABELS, seed=1)
    for rows, same, differ in zip(cut((0.6, 0.2, 0.2), LABELS), again, other, strict=True):
        assert np.array_equal(rows, same) and not np.array_equal(rows, differ)


def test_single_pictures_are_split_at_random_by_the_shares() -> None:
    labels = np.arange(2000)
    train, val, test = (len(rows) for rows in cut((0, 0.4, 0.6), labels))
    assert train == 0 and abs(val - 800) < 90 and val + test == 2000  # four standard deviations


def test_positions_are_evenly_spaced_within_a_class() -> None:
    found = np.sort(positions(LABELS, 3)[LABELS == 1])
    assert found[0] >= 0 and found[-1] < 1
    assert np.diff(found) == pytest.approx(1 / 37)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (("train", "val", "test"), {"train": Part("train"), "val": Part("val"), "test": Part("test")}),
        (
            ("train", "val"),
            {"train": Part("train", 0, 0.9), "val": Part("train", 0.9), "test": Part("val")},
        ),
        (
            ("train", "test"),
            {"train": Part("train", 0, 0.9), "val": Part("train", 0.9), "test": Part("test")},
        ),
        (("test",), {"test": Part("test")}),
        (("train",), {"train": Part("train")}),
        (("val", "test"), {"val": Part("val"), "test": Part("test")}),
    ],
)
def test_what_a_set_lacks_is_taken_from_its_train_split(
    own: tuple[str, ...], expected: dict[str, Part]
) -> None:
    assert parts(own, None, whole_test=False) == expected


def test_a_set_without_splits_is_all_test_if_it_is_only_tested_on() -> None:
    assert parts(WHOLE, None, whole_test=True) == {"test": Part("")}
    assert parts(WHOLE, (0.5, 0, 0.5), whole_test=True)["test"] == Part("", 0.5)


@pytest.mark.parametrize(("limit", "expected"), [(16, [5, 5, 5, 1]), (4, [1, 1, 1, 1]), (60, [27, 27, 5, 1])])
def test_a_limit_is_spread_over_the_classes(limit: int, expected: list[int]) -> None:
    rows = limited(LABELS, limit, 0)
    counts = np.bincount(LABELS[rows], minlength=4)
    assert len(rows) == limit and np.array_equal(rows, np.unique(rows))
    assert (np.abs(counts - expected) <= 1).all()
    assert not np.array_equal(rows, limited(LABELS, limit, 1))


def test_a_limit_below_the_number_of_classes_leaves_some_out() -> None:
    chosen = {tuple(LABELS[limited(LABELS, 2, seed)]) for seed in range(20)}
    assert all(len(set(pair)) == 2 for pair in chosen)
    assert {label for pair in chosen for label in pair} == {0, 1, 2, 3}


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    for limit in (None, len(LABELS), 1000):
        assert np.array_equal(limited(LABELS, limit, 0), np.arange(len(LABELS)))
