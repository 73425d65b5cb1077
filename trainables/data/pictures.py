"""Pictures as they lie on disk, and how they are read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from trainables.data.colors import as_rgb
from trainables.data.images import picked
from trainables.data.preprocessing import Preprocessing
from trainables.errors import ProblemError, unfetched, warn
from trainables.written import Spelling

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""


class Pictures(Protocol):
    """A sequence of pictures that are opened when they are asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def open(self, row: int) -> Image.Image:
        """Open one. Raises ProblemError, which names it, if it cannot be read."""

    def chosen(self, rows: NDArray[np.int64]) -> "Pictures":
        """The pictures of these rows."""


def upright(file: Path | str | BinaryIO, name: str | None = None) -> Image.Image:
    """Open a picture as RGB, turned upright as its EXIF orientation says; the name is for messages."""
    with Image.open(file) as picture:
        if name is not None:
            picture.filename = name
        rgb = as_rgb(picture)
        turn = _TURNS.get(_orientation(picture))
        return rgb if turn is None else rgb.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, read alone: PIL's own `exif_transpose` fails at any tag that is mistyped."""
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation)
    # PIL's parser raises what it likes too.
    except Exception:
        return 0
    return found if isinstance(found, int) else 0


@dataclass(frozen=True)
class FilePictures:
    """Picture files below a folder."""

    folder: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, row: int) -> Image.Image:
        """Open one as RGB, turned upright as its EXIF orientation says."""
        file = Path(self.folder, self.names[row])
        try:
            return upright(file)
        # PIL's decoders raise what they like at a damaged file, SyntaxError and struct.error among it.
        except Exception as error:
            reason = str(error).replace(f" {str(file)!r}", "").removesuffix(":") + unfetched(file)
            raise ProblemError(
                f"path: {file} cannot be read as a picture: {reason}; replace it, or move it elsewhere"
            ) from error

    def chosen(self, rows: NDArray[np.int64]) -> "FilePictures":
        """The files of these rows."""
        return replace(self, names=tuple(self.names[row] for row in rows))


@dataclass(frozen=True)
class DatasetPictures:
    """The pictures of a map-style data set whose items are (PIL image, label)."""

    dataset: Any  # torchvision's data sets are not typed.
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, row: int) -> Image.Image:
        """Open one as RGB."""
        item = int(self.rows[row])
        try:
            return as_rgb(self.dataset[item][0])
        except Exception as error:
            kind, root = type(self.dataset).__name__, self.dataset.root
            raise ProblemError(f"path: picture {item} of {kind} in {root} cannot be read: {error}") from error

    def chosen(self, rows: NDArray[np.int64]) -> "DatasetPictures":
        """The pictures of these rows."""
        return replace(self, rows=self.rows[rows])


@dataclass(frozen=True)
class AsWritten:
    """Pictures whose messages name paths as the space writes them, wherever they are read."""

    pictures: Pictures
    spelling: Spelling

    def __len__(self) -> int:
        return len(self.pictures)

    def open(self, row: int) -> Image.Image:
        """Open one."""
        with self.spelling.shown():
            return self.pictures.open(row)

    def chosen(self, rows: NDArray[np.int64]) -> "AsWritten":
        """The pictures of these rows."""
        return replace(self, pictures=self.pictures.chosen(rows))


@dataclass(frozen=True)
class LazyPixels:
    """Pictures that are read when rows of them are asked for; it pickles without their pixels."""

    pictures: Pictures
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Pictures (n, 3, S, S), uint8, of rows (n,). Raises ProblemError for one that cannot be read."""
        return picked(self, rows, self.preprocessing.size)

    def picture(self, row: int) -> Tensor:
        """One picture (3, H, W), uint8; also where they differ in size."""
        return self.preprocessing.apply(self.pictures.open(row))

    def made_ready(self) -> "LazyPixels":
        """The same pictures."""
        return self


@dataclass(frozen=True)
class Listed:
    """Labelled pictures that have not been read.

    Attributes:
        labels: (N,), int64.
    """

    pictures: Pictures
    labels: NDArray[np.int64] = field(repr=False)

    def chosen(self, rows: NDArray[np.int64]) -> "Listed":
        """Those of these rows."""
        return Listed(self.pictures.chosen(rows), self.labels[rows])


def warn_of_odd(odd: Sequence[tuple[str, str]], where: str) -> None:
    """Say once for a set what its owner may not expect of its pictures."""
    for kind in sorted({kind for kind, _ in odd}):
        names = [name for each, name in odd if each == kind]
        warn(f"{where}: {len(names)} of the pictures, such as {min(names)}, {kind}")


def warn_of_damaged(damaged: Sequence[str], where: str) -> None:
    """Say once for a set how many of its pictures are left out, since they cannot be read."""
    if damaged:
        count = f"{len(damaged)} of the pictures cannot be read and are left out"
        warn(f"{where}: {count}; the first: {damaged[0]}")


def file_pictures(folder: Path, files: Sequence[Path | str]) -> FilePictures:
    """Give files below a folder, or elsewhere by their whole path."""
    return FilePictures(str(folder), tuple(os.path.relpath(file, folder) for file in files))
