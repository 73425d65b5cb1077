"""Pictures with captions."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.data.images import ImageSet
from trainables.data.pictures import AsWritten, Listed, file_pictures
from trainables.data.preprocessing import Preprocessing
from trainables.data.shifts import shifted
from trainables.data.splits import WHOLE, limited, parts, refuse_empty, rows_of
from trainables.errors import MissingError, ProblemError
from trainables.written import Spelling, expanded, shown_as_written

_SHARES = (0, 0.5, 0.5)
_COLUMNS = ("image", "caption")


@dataclass(frozen=True)
class Pairs:
    """Pictures and their captions, one or more each.

    Attributes:
        images: N pictures; the label of each is its own row.
        captions: M sentences.
        owners: (M,), int64: the row of the picture that each caption belongs to.
    """

    images: ImageSet
    captions: tuple[str, ...]
    owners: Tensor

    def to(self, device: str) -> "Pairs":
        """The same pairs with their pictures and rows on a device."""
        return replace(self, images=self.images.to(device), owners=self.owners.to(device))


class PairSplits(NamedTuple):
    """The split to choose by and the split to report on."""

    val: Pairs
    test: Pairs


@shown_as_written
def load_pairs(source: Mapping[str, Any], preprocessing: Preprocessing) -> PairSplits:
    """Load the validation and the test split of a CSV file with the header ``image,caption``.

    Paths of pictures are relative to the file; a picture with several captions stands on several lines, and
    is in one split with all of them. Without shares in the source, each split gets half of the pictures.

    Args:
        source: a resolved source section of the space.

    Raises:
        MissingError: there is no such CSV file.
        ProblemError: a column, a picture or a caption is missing, or a picture cannot be read.
    """
    file = Path(expanded(source["path"], "path")).absolute()
    captions = _read(file)
    pictures = list(captions)
    alike = np.zeros(len(pictures), dtype=np.int64)  # pictures here have no classes
    takes = parts(WHOLE, source["split"] or _SHARES, whole_test=False)

    def read(name: str) -> Pairs:
        rows = rows_of(takes[name], alike, source["seed"])
        refuse_empty(name, len(rows))
        rows = rows[limited(alike[rows], source["limit"], source["seed"])]
        files = [pictures[row] for row in rows]
        found = AsWritten(file_pictures(file.parent, files), Spelling.of(source))
        images = Listed(found, np.arange(len(rows))).read(preprocessing)
        owned = [(owner, text) for owner, picture in enumerate(files) for text in captions[picture]]
        return Pairs(
            shifted(images, source["shift"], source["severity"]),
            tuple(text for _, text in owned),
            torch.tensor([owner for owner, _ in owned]),
        )

    return PairSplits(read("val"), read("test"))


def _read(file: Path) -> dict[Path, list[str]]:
    """Give the captions of every picture, in the order of the file."""
    captions: dict[Path, list[str]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.DictReader(stream)
            _check_header(lines.fieldnames or (), file)
            for line in lines:
                place = f"path: {file}:{lines.line_num}"
                name, caption = ((line[column] or "").strip() for column in _COLUMNS)
                if not name or not caption:
                    raise ProblemError(f"{place}: has no {'caption' if name else 'image'}; add it")
                picture = file.parent / name
                if picture not in captions and not picture.is_file():
                    raise ProblemError(f"{place}: no such picture: {picture}; paths are relative to the file")
                captions.setdefault(picture, []).append(caption)
    except FileNotFoundError as error:
        raise MissingError(f"path: no such file: {file}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProblemError(f"path: {file} cannot be read as CSV in UTF-8: {error}") from error
    if not captions:
        raise ProblemError(f"path: {file} names no picture; expects lines of image,caption below that header")
    return captions


def _check_header(header: Sequence[str], file: Path) -> None:
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        # What it has instead is not said: the file may be none that the space's writer may read.
        raise ProblemError(
            f"path: {file} has no column {missing[0]} in its first line; expects {','.join(_COLUMNS)} there"
        )
