"""Pictures with captions."""

import csv
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import torch
from torch import Tensor

from trainables.data.images import ImageSet
from trainables.data.listing import is_writable
from trainables.data.pictures import AsWritten, Listed, file_pictures, warn_of_odd
from trainables.data.preprocessing import Preprocessing
from trainables.data.reading import read_pictures
from trainables.data.shifts import shifted
from trainables.data.splits import WHOLE, limit_of, limited, parts, refuse_empty, rows_of
from trainables.errors import MissingError, ProblemError
from trainables.sections import DataSet
from trainables.written import Spelling, expanded

_SHARES = (0, 0.5, 0.5)
# open_clip's names, those of Hugging Face's image folders, and the project's own.
_IMAGES = ("image", "filepath", "file_name")
_CAPTIONS = ("caption", "title", "text")
_EXPECTED = "image,caption"
_QUOTING = 'put the caption into quotes ("), and double those in it'


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


def load_pairs(source: DataSet, preprocessing: Preprocessing) -> PairSplits:
    """Load the validation and the test split of a file with the header ``image,caption``, by commas or tabs.

    Paths of pictures are relative to the file; a picture with several captions stands on several lines, and
    is in one split with all of them. Without shares in the source, each split gets half of the pictures.

    Args:
        source: a resolved source section of the space.

    Raises:
        MissingError: there is no such CSV file.
        ProblemError: a column, a picture or a caption is missing, or a picture cannot be read.
    """
    assert source.path is not None
    file = Path(expanded(source.path, "path")).absolute()
    spelling = Spelling.of(source.path)
    with spelling.shown():
        captions = _read(file)
    pictures = list(captions)
    odd: list[tuple[str, str]] = []
    no_classes = np.zeros(len(pictures), dtype=np.int64)
    takes = parts(WHOLE, source.split or _SHARES, whole_test=False)

    def read(name: str) -> Pairs:
        rows = rows_of(takes[name], no_classes, source.seed)
        refuse_empty(name, len(rows))
        rows = rows[limited(no_classes[rows], limit_of(source, name), source.seed)]
        files = [pictures[row] for row in rows]
        found = AsWritten(file_pictures(file.parent, files), spelling)
        images = read_pictures(Listed(found, np.arange(len(rows))), preprocessing, odd=odd)
        owned = [(owner, text) for owner, picture in enumerate(files) for text in captions[picture]]
        return Pairs(
            shifted(images, source.shift, source.severity),
            tuple(text for _, text in owned),
            torch.tensor([owner for owner, _ in owned]),
        )

    with spelling.shown():
        splits = PairSplits(read("val"), read("test"))
    warn_of_odd(odd, source.path)
    return splits


def _read(file: Path) -> dict[Path, list[str]]:
    """Give the captions of every picture, in the order of the file."""
    captions: dict[Path, list[str]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for line, name, caption in _lines(stream, file):
                picture = _picture(file, name, line, captions)
                captions.setdefault(picture, []).append(caption)
    except FileNotFoundError as error:
        raise MissingError(f"path: no such file: {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"path: {file} cannot be read as text in UTF-8: {error}") from error
    if not captions:
        raise ProblemError(f"path: {file} names no picture; expects lines of {_EXPECTED} below that header")
    return captions


def _picture(file: Path, name: str, line: int, known: Container[Path]) -> Path:
    picture = file.parent / name
    if not is_writable(name):
        raise ProblemError(
            f"path: {file}:{line}: {name!r} has control characters; name the picture otherwise"
        )
    if picture not in known and not picture.is_file():
        raise ProblemError(f"path: {file}:{line}: no such picture: {picture}; paths are relative to the file")
    return picture


def _lines(stream: TextIO, file: Path) -> Iterator[tuple[int, str, str]]:
    """The line, the picture's name and the caption of every row below the header."""
    raw: list[str] = []
    header = next(stream, "")
    delimiter = "\t" if "\t" in header else ","
    columns = [name.strip().strip('"').lower() for name in header.split(delimiter)]
    image, caption = (_column(columns, names, file) for names in (_IMAGES, _CAPTIONS))
    rows = csv.reader(_kept(stream, raw), delimiter=delimiter, strict=True)
    while True:
        line = rows.line_num + 2
        raw.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise ProblemError(f"path: {file}:{line}: {error}; {_QUOTING}") from error
        if not row:
            continue
        if len(row) > len(columns):
            row = _rejoined(row, "".join(raw), delimiter, columns, caption, f"path: {file}:{line}")
        name, text = (row[place].strip() if place < len(row) else "" for place in (image, caption))
        if not name or not text:
            raise ProblemError(f"path: {file}:{line}: has no {'caption' if name else 'image'}; add it")
        yield line, name, text


def _kept(stream: Iterable[str], raw: list[str]) -> Iterator[str]:
    """The lines, which are kept until a row has been read."""
    for line in stream:
        raw.append(line)
        yield line


def _rejoined(
    row: list[str], raw: str, delimiter: str, columns: Sequence[str], caption: int, place: str
) -> list[str]:
    """A row whose caption has delimiters, though it is not quoted: clear where the caption is last.

    CLIP_benchmark reads the lists of Flickr30k and Flickr8k so, which have no quotes.
    """
    whole = delimiter.join(row[caption:])
    if caption != len(columns) - 1 or whole not in raw:
        raise ProblemError(f"{place}: has more than {len(columns)} columns; {_QUOTING}")
    return [*row[:caption], whole]


def _column(columns: Sequence[str], names: Sequence[str], file: Path) -> int:
    """The place of the one column with one of these names."""
    found = [name for name in columns if name in names]
    if not found:
        raise ProblemError(
            f"path: {file} has no column {names[0]} in its first line; expects {_EXPECTED} there, by commas "
            f"or tabs ({' and '.join(names[1:])} do for {names[0]})"
        )
    if len(found) > 1:
        raise ProblemError(f"path: {file} has the columns {' and '.join(found)}; rename one of them")
    return columns.index(found[0])
