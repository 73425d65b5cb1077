"""Every picture is looked at once before anything is trained: whether it can be read, and what it holds.

Small sets stay in memory. Of others, what is decoded stays in a file of this machine as far as `store` has
room, and is else decoded whenever it is asked for. The numbers are the same to the bit.
"""

import json
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data import store
from trainables.data.colors import ODD
from trainables.data.images import ImageSet, picked
from trainables.data.loader import read_ahead
from trainables.data.pictures import LazyPixels, Listed
from trainables.data.preprocessing import Preprocessing, Whole
from trainables.errors import ProblemError
from trainables.fingerprint import fingerprint

LARGEST_IN_MEMORY = 256 * 2**20
"""Bytes. A set whose pixels take more is not held in memory, nor copied into every process and GPU."""

_AT_ONCE = 16  # pictures that a process decodes at a time
_WORTH_A_PROCESS = 250  # pictures
_WHOLE = 2  # sides of the model's square that the shorter side of a whole picture has at most
_SAID = 20_000  # pictures, of which a person is told that they are all looked at


@dataclass
class Notes:
    """What was found when every picture was looked at.

    Attributes:
        damaged: the row of each picture that cannot be read, and why.
        odd: what `as_rgb` has written of pictures that their owner may not expect.
    """

    damaged: list[tuple[int, str]] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: "Notes") -> None:
        """Takes another's."""
        self.damaged += other.damaged
        self.odd += other.odd


@dataclass(frozen=True)
class _Seen:
    """Decoded pictures, one after the other in one tensor, and the height and width of each; 0 if damaged."""

    values: Tensor
    sides: NDArray[np.int32]
    notes: Notes


@dataclass(frozen=True)
class _Look:
    source: LazyPixels

    def __getitem__(self, rows: Tensor) -> _Seen:
        notes, decoded = Notes(), []
        for row in rows.tolist():
            try:
                picture = self.source.pictures.open(row)
                notes.odd += [picture.info[ODD]] if ODD in picture.info else []
                decoded.append(self.source.preprocessing.apply(picture))
            except ProblemError as error:
                notes.damaged.append((row, str(error)))
                decoded.append(torch.empty(3, 0, 0, dtype=torch.uint8))
        sides = np.array([picture.shape[1:] for picture in decoded], dtype=np.int32)
        if self.source.preprocessing.channels_last:
            decoded = [picture.permute(1, 2, 0) for picture in decoded]
        return _Seen(torch.cat([picture.flatten() for picture in decoded]), sides, notes)


def _look(source: LazyPixels) -> Iterator[_Seen]:
    """Every picture once, some at a time, by as many processes as there are processors for."""
    cpus = len(os.sched_getaffinity(0))
    parts = torch.arange(len(source)).split(_AT_ONCE)
    return read_ahead(_Look(source), parts, min(cpus, len(source) // _WORTH_A_PROCESS))


@dataclass(frozen=True)
class KeptPixels:
    """Pictures that a file of this machine holds decoded; where it does not, they are decoded when asked for.

    Attributes:
        source: pictures.
        rows: (N,), those of the source that can be read.
        key: of the source's content.
    """

    source: LazyPixels
    rows: NDArray[np.int64] = field(repr=False)
    key: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Pictures (n, 3, S, S), uint8, of rows (n,)."""
        return picked(self, rows, self.source.preprocessing.size)

    def picture(self, row: int) -> Tensor:
        """One picture (3, H, W), uint8; also where they differ in size."""
        decoded, source_row = _opened(self.key), int(self.rows[row])
        found = (
            None if decoded is None else decoded.picture(source_row, self.source.preprocessing.channels_last)
        )
        return self.source.picture(source_row) if found is None else found

    def made_ready(self) -> "KeptPixels":
        """The same pictures, decoded by now if this machine has room for them."""
        if _opened(self.key, again=True) is None and store.has_room(_bytes(self.source)):
            with suppress(OSError):  # the driver has told, and pictures are decoded when asked for
                _make(self.source, self.key)
            _opened(self.key, again=True)
        return self


class _Decoded:
    """A file of decoded pictures.

    Args:
        values: of all pictures, one after the other.
        sides: (N, 2), height and width of each.
    """

    def __init__(self, values: Tensor, sides: NDArray[np.int32]) -> None:
        self._values = values
        self._sides = sides
        self._ends = np.cumsum(3 * sides.astype(np.int64).prod(axis=1))

    def picture(self, row: int, channels_last: bool) -> Tensor | None:
        """(3, H, W), uint8; None for one that could not be read."""
        height, width = self._sides[row].tolist()
        end = int(self._ends[row])
        values = self._values[end - 3 * height * width : end]
        if not height:
            return None
        if channels_last:
            return values.view(height, width, 3).permute(2, 0, 1)
        return values.view(3, height, width)


_OPEN: dict[str, _Decoded | None] = {}


def _opened(key: str, again: bool = False) -> _Decoded | None:
    """The file, mapped into this process; None where there was none when this process first asked, or now."""
    if key not in _OPEN or (again and _OPEN[key] is None):
        _OPEN[key] = None
        values, sides = store.used(f"{key}.pixels"), store.used(f"{key}.npy")
        if values is None or sides is None:
            return None
        with suppress(OSError, ValueError), values.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            _OPEN[key] = _Decoded(torch.frombuffer(mapped, dtype=torch.uint8), np.load(sides))
    return _OPEN[key]


def _make(source: LazyPixels, key: str) -> Notes:
    """Looks at all pictures, unless that has been done, and keeps what is decoded as far as there is room.

    Raises:
        OSError: the folder cannot be written, or is full.
    """
    with store.only_maker(key):
        known, size = store.used(f"{key}.json"), _bytes(source)
        if known is not None and (_opened(key, again=True) is not None or not store.has_room(size)):
            return Notes(**json.loads(known.read_text()))
        _say(source)
        if store.has_room(size):
            sides: list[NDArray[np.int32]] = []
            with store.whole(f"{key}.pixels", size) as file:
                notes = _noted(source, file, sides)
            with store.whole(f"{key}.npy") as file:
                np.save(file, np.concatenate(sides))
        else:
            notes = _noted(source, None, [])
        with store.whole(f"{key}.json") as file:
            file.write(json.dumps(vars(notes)).encode())
        return notes


def _noted(source: LazyPixels, file: BinaryIO | None, sides: list[NDArray[np.int32]]) -> Notes:
    notes = Notes()
    for seen in _look(source):
        notes.add(seen.notes)
        sides.append(seen.sides)
        if file is not None:
            file.write(seen.values.numpy().data)
    return notes


def _bytes(source: LazyPixels) -> int:
    """What all pictures take, or for those whose size is not known before, may take."""
    return 3 * source.preprocessing.size**2 * len(source)


def _say(source: LazyPixels) -> None:
    if len(source) >= _SAID:
        print(f"looks at {len(source):,} pictures, once for this machine", file=sys.stderr)


def read_pictures(
    listed: Listed, preprocessing: Preprocessing, allowed: int = 0, odd: list[tuple[str, str]] | None = None
) -> ImageSet:
    """Labelled pictures as a model sees them, without those that cannot be read.

    Args:
        listed: the pictures.
        preprocessing: how the model sees them.
        allowed: how many may be left out since they cannot be read.
        odd: gets what `as_rgb` has written of those that their owner may not expect.

    Raises:
        ProblemError: more than that cannot be read; it names the first.
    """
    source = LazyPixels(listed.pictures, preprocessing)
    in_memory = _bytes(source) <= LARGEST_IN_MEMORY
    notes, parts = Notes(), [torch.empty(0, dtype=torch.uint8)]
    versions = [version("pillow"), version("torchvision")]
    key = fingerprint((source, versions))
    if in_memory:
        for seen in _look(source):
            notes.add(seen.notes)
            parts.append(seen.values)
    else:
        try:
            notes = _make(source, key)
            _opened(key, again=True)
        except OSError as error:
            store.not_kept(error)
            notes = _noted(source, None, [])
    _refuse_damaged(notes, allowed)
    if odd is not None:
        odd += [(kind, name) for kind, name in notes.odd]  # JSON has lists
    sound = np.delete(np.arange(len(source)), [row for row, _ in notes.damaged])
    size = preprocessing.size
    pixels = torch.cat(parts).view(-1, 3, size, size) if in_memory else KeptPixels(source, sound, key)
    whole = LazyPixels(listed.pictures, Whole(_WHOLE * size))
    return ImageSet(
        pixels,
        torch.from_numpy(listed.labels[sound]),
        whole=KeptPixels(whole, sound, f"{key}-whole"),
        damaged=tuple(message for _, message in notes.damaged),
    )


def _refuse_damaged(notes: Notes, allowed: int) -> None:
    count = len(notes.damaged)
    if count > allowed:
        more = f" ({count - 1} more cannot be read either)" if count > 1 else ""
        raise ProblemError(f"{notes.damaged[0][1]}{more}, or let damaged: {count} leave such pictures out")
