"""Labelled pictures within tar files: each file is listed once, a picture is read from its place."""

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from trainables.data.pictures import Listed, upright
from trainables.errors import ProblemError, unfetched

Shards = tuple[Path, ...]

# Bytes of zeros at the end: two blocks, filled up to a whole record. Larger records than the usual are rare.
_LONGEST_END = 16 * tarfile.RECORDSIZE

_PICTURES = {ending.removeprefix(".") for ending in IMG_EXTENSIONS}


@dataclass(frozen=True)
class ShardPictures:
    """Pictures within tar files, each read from its place.

    Attributes:
        shards: the tar files.
        stamps: bytes and time of change, ns, of each.
        names: (N,), the pictures' names within their shards.
        places: (N, 3): which shard, where the picture begins in it, and its length in bytes.
    """

    shards: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, row: int) -> Image.Image:
        """Open one as RGB, turned upright as its EXIF orientation says."""
        shard, start, length = self.places[row].tolist()
        try:
            with Path(self.shards[shard]).open("rb") as file:
                file.seek(start)
                return upright(BytesIO(file.read(length)), self.names[row])
        # PIL's decoders raise what they like at a damaged file.
        except Exception as error:
            raise ProblemError(
                f"path: {self.names[row]} in the shard {self.shards[shard]} cannot be read as a picture: "
                f"{error}; replace or remove it"
            ) from error

    def chosen(self, rows: NDArray[np.int64]) -> "ShardPictures":
        """The pictures of these rows."""
        return replace(self, names=tuple(self.names[row] for row in rows), places=self.places[rows])


def list_shards(shards: Shards) -> Listed:
    """List every picture of the shards with its label.

    Raises:
        ProblemError: a shard cannot be read to its end, or a sample has no picture or no class number.
    """
    stats = [shard.stat() for shard in shards]
    return _listed(shards, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@lru_cache(maxsize=8)
def _listed(shards: Shards, stamps: tuple[tuple[int, int], ...]) -> Listed:
    """The same, found once for shards that have not changed since."""
    names: list[str] = []
    places: list[tuple[int, int, int]] = []
    labels: list[int] = []
    for number, shard in enumerate(shards):
        for sample in _samples(shard):
            names.append(sample.name)
            places.append((number, sample.start, sample.length))
            labels.append(sample.label)
    pictures = ShardPictures(
        tuple(map(str, shards)),
        stamps,
        tuple(names),
        np.array(places, dtype=np.int64).reshape(-1, 3),
    )
    return Listed(pictures, np.array(labels, dtype=np.int64))


class _Sample(NamedTuple):
    name: str
    start: int
    length: int
    label: int


def _samples(shard: Path) -> Iterator[_Sample]:
    """The samples of a shard: members whose names are the same up to the first dot of the last part."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for key, members in _members(tar, shard).items():
                yield _sample(tar, shard, key, members)
    except (tarfile.TarError, OSError) as error:
        raise ProblemError(
            f"path: the shard {shard} ends in the middle, or is no uncompressed tar file: {error}"
            f"{unfetched(shard)}; fetch it again"
        ) from error


def _members(tar: tarfile.TarFile, shard: Path) -> dict[str, dict[str, tarfile.TarInfo]]:
    """The files of each sample by their endings."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in tar:
        path = PurePosixPath(member.name)
        stem, _, ending = path.name.partition(".")
        if not member.isfile() or not stem or not ending or stem.startswith("__"):
            continue
        files = samples.setdefault(str(path.parent / stem), {})
        if ending.lower() in files:
            raise ProblemError(f"path: the shard {shard} has {member.name} twice; make it again")
        files[ending.lower()] = member
    _check_end(tar, shard)
    return samples


def _check_end(tar: tarfile.TarFile, shard: Path) -> None:
    """A tar file ends with a block of zeros; Python takes a damaged header for the end, and says nothing."""
    size = shard.stat().st_size
    with shard.open("rb") as file:
        file.seek(tar.offset)
        rest = file.read(_LONGEST_END + 1)
    # A file that was to be filled, and one with another behind it, go on after the zeros.
    if not tarfile.BLOCKSIZE <= len(rest) <= _LONGEST_END or any(rest):
        raise tarfile.ReadError(f"no end of the archive after byte {tar.offset} of {size}")


def _sample(tar: tarfile.TarFile, shard: Path, key: str, members: Mapping[str, tarfile.TarInfo]) -> _Sample:
    pictures = [member for ending, member in members.items() if ending in _PICTURES]
    if len(pictures) != 1:
        raise ProblemError(
            f"path: the sample {key} in the shard {shard} has {len(pictures)} pictures, and one is expected"
        )
    return _Sample(
        pictures[0].name, pictures[0].offset_data, pictures[0].size, _label(tar, shard, key, members)
    )


def _label(tar: tarfile.TarFile, shard: Path, key: str, members: Mapping[str, tarfile.TarInfo]) -> int:
    """The number in the sample's file ``cls``, or under ``label`` in its file ``json``."""
    try:
        if "cls" in members:
            label = int(_content(tar, members["cls"]))
        else:
            label = json.loads(_content(tar, members["json"]))["label"]
        if not isinstance(label, int) or label < 0:
            raise ValueError(label)
    except (KeyError, TypeError, ValueError) as error:
        raise ProblemError(
            f"path: the sample {key} in the shard {shard} has no class number; expects a file .cls with one, "
            "counted from 0, or a file .json with a label"
        ) from error
    return label


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # it is a file, not a folder
    return file.read()
