"""Which pictures a split gets: seeded, the same share of every class, by numpy alone."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.errors import ProblemError
from trainables.sections import DataSet

SPLITS = ("train", "val", "test")
USUAL_SHARES = (0.6, 0.2, 0.2)
SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""What data sets call their splits: the words that Hugging Face's `datasets` knows."""

_HELD_OUT = 0.1  # share of the train pictures that become val where a set has none

Rows = NDArray[np.int64]


class Part(NamedTuple):
    """The pictures of one of a set's own splits whose positions lie between two bounds.

    Attributes:
        split: name of the set's own split; ``""`` where the set has none.
        low: first position, 0 to 1.
        high: end of the positions, not included.
    """

    split: str
    low: float = 0.0
    high: float = 1.0


WHOLE = ("",)
"""The own splits of a set that comes without any."""


def parts(split_names: Collection[str], shares: Sequence[float] | None, whole_test: bool) -> dict[str, Part]:
    """Say where train, val and test of a set are taken from; one that cannot be had is left out.

    A set without splits is cut by the shares, or is all ``test`` where that is asked for. Where ``val`` or
    ``test`` is missing, val is a tenth of train; a missing test is then the set's own val, as in ImageNet.

    Args:
        split_names: the set's own splits, or `WHOLE`.
        shares: of train, val and test, for a set without splits.
        whole_test: whether a set without splits, for which no shares are given, is all test.
    """
    if "" in split_names:
        if whole_test and shares is None:
            return {"test": Part("")}
        train, val, _ = shares or USUAL_SHARES
        return {
            "train": Part("", 0, train),
            "val": Part("", train, train + val),
            "test": Part("", train + val),
        }
    if "train" not in split_names or {"val", "test"} <= set(split_names) or set(split_names) == {"train"}:
        return {name: Part(name) for name in SPLITS if name in split_names}
    held_out = 1 - _HELD_OUT
    return {
        "train": Part("train", 0, held_out),
        "val": Part("train", held_out),
        "test": Part("test" if "test" in split_names else "val"),
    }


def positions(labels: Rows, seed: int) -> NDArray[np.float64]:
    """Give every picture (N,) a position in [0, 1), evenly spaced within each class, in shuffled order.

    Position (rank + u) / n for the n pictures of a class, with one u in [0, 1) a class: systematic sampling,
    so that an interval of length p holds n p pictures of the class, rounded up or down by chance.
    """
    found = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rng = np.random.default_rng((seed, int(label)))
        found[rows] = (rng.permutation(len(rows)) + rng.random()) / len(rows)
    return found


def rows_of(part: Part, labels: Rows, seed: int) -> Rows:
    """Give the rows of a part, in order, of a set with these labels (N,)."""
    if (part.low, part.high) == (0, 1):
        return np.arange(len(labels))
    place = positions(labels, seed)
    return np.flatnonzero((place >= part.low) & (place < part.high))


def limit_of(source: DataSet, split: str) -> int | None:
    """Give the most pictures that a resolved source section lets a split have; None for no limit."""
    limits = [source.limit, source.val_limit if split == "val" else None]
    return min((limit for limit in limits if limit is not None), default=None)


def limited(labels: Rows, limit: int | None, seed: int) -> Rows:
    """Give the rows, in order, of at most ``limit`` pictures, as many of every class as there are or fit.

    Classes are served in turns; which of them get one more than others is random too.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        turn[rows] = np.random.default_rng((seed, int(label), 1)).permutation(len(rows))
    order = np.random.default_rng(seed).permutation(int(labels.max()) + 1)
    return np.sort(np.lexsort((order[labels], turn))[:limit])


def refuse_empty(name: str, count: int) -> None:
    """Raise ProblemError for a split that was asked for and has no picture."""
    if count == 0:
        raise ProblemError(f"split: leaves no picture for {name}; give it a larger share, or add pictures")
