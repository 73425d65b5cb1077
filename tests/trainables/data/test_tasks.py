from collections.abc import Callable

import pytest
import torch

from search_spaces import Source
from trainables.data import SHIPPED, TimmPreprocessing, load_task, shifted

MakeSource = Callable[..., Source]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_given_as_it_is_drawn(name: str, make_source: MakeSource) -> None:
    drawn, task = SHIPPED[name](32), load_task(make_source(name), TimmPreprocessing(32))
    assert (task.classes, task.templates) == (drawn.classes, drawn.templates)
    for split in ("train", "val", "test"):
        ours, theirs = getattr(task, split), getattr(drawn, split)
        assert torch.equal(ours.pixels, theirs.pixels) and torch.equal(ours.labels, theirs.labels)


def test_splits_that_are_not_asked_for_are_empty(make_source: MakeSource) -> None:
    task = load_task(make_source("glyphs"), TimmPreprocessing(32), ("test",))
    assert (len(task.train), len(task.val), len(task.test)) == (0, 0, 780)
    assert task.train.pixels.shape == (0, 3, 32, 32) and task.val.labels.dtype == torch.int64
    assert list(task.train.batches(8)) == []


def test_limit_names_and_shift_hold_for_what_ships(make_source: MakeSource) -> None:
    numerals = tuple("0123456789")
    source = make_source(
        "digits", limit=50, classes=numerals, templates=["a {}"], shift="blurred", severity=2
    )
    task = load_task(source, TimmPreprocessing(32))
    assert (task.classes, task.templates) == (numerals, ("a {}",))
    assert torch.bincount(task.val.labels).tolist() == [5] * 10
    plain = load_task(make_source("digits", limit=50), TimmPreprocessing(32)).val
    assert torch.equal(task.val.pixels[:], shifted(plain, "blurred", 2).pixels[:])
