"""What lies in a folder: without what systems put there, and each folder once."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from trainables.errors import ProblemError

PICTURES = (*IMG_EXTENSIONS, ".gif", ".jfif")
"""How the names of picture files end, in lower case: torchvision's, and two that PIL reads as well."""

_OF_SYSTEMS = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "desktop.ini",
}
# Control characters and line ends break messages, tables and pages; lone surrogates are no UTF-8.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_writable(name: str) -> bool:
    """Whether a name can be put into messages, JSON and pages."""
    return _UNWRITABLE.search(name) is None


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; without links to a folder that it lies in.

    Raises:
        ProblemError: the folder cannot be read, or a name in it cannot be written.
    """
    return _folders(_visible(folder))


def picture_files(folder: Path) -> list[str]:
    """The picture files in a folder and below, in the order of torchvision's ImageFolder; no folder twice.

    Raises:
        ProblemError: as for `subfolders`.
    """
    been: set[str] = set()

    def below(parent: Path) -> Iterator[str]:
        been.add(os.path.realpath(parent))
        entries = _visible(parent)
        yield from (entry.path for entry in entries if _is_picture(entry))
        # Links come last: a folder's pictures are found where they really are.
        for inner in sorted(_folders(entries), key=os.path.islink):
            if os.path.realpath(inner) not in been:
                yield from below(inner)

    return sorted(below(folder), key=os.path.split)


def holds_pictures(folder: Path) -> bool:
    """Whether picture files lie in a folder itself."""
    with _scanned(folder) as entries:
        return any(_is_picture(entry) for entry in entries if not _is_hidden(entry.name))


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Class names in the order of their labels: as numbers where all are numbers, else as text.

    Raises:
        ProblemError: two of them are the same number.
    """
    if not all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names))
    ordered = sorted(names, key=lambda name: (int(name), name))
    for name, following in pairwise(ordered):
        if int(name) == int(following):
            raise ProblemError(
                f"path: the class folders {name} and {following} are one number; rename one of them"
            )
    return tuple(ordered)


@contextmanager
def _scanned(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        raise ProblemError(f"path: {folder} cannot be read: {error.strerror}") from error


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with _scanned(folder) as entries:
        found = sorted((e for e in entries if not _is_hidden(e.name)), key=lambda e: e.name)
    for entry in found:
        if not is_writable(entry.name):
            shown = os.fsencode(entry.name)
            raise ProblemError(
                f"path: {folder} holds {shown!r}: this name is not UTF-8 or has control characters; rename it"
            )
    return found


def _folders(entries: Sequence[os.DirEntry[str]]) -> list[Path]:
    return [Path(entry.path) for entry in entries if _is_folder(entry) and not _is_loop(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; links that lead to each other are none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(PICTURES) and not _is_folder(entry)


def _is_loop(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a link to the folder that it lies in, or to one above."""
    if not entry.is_symlink():
        return False
    inside = Path(os.path.realpath(Path(entry.path).parent))
    return inside.is_relative_to(os.path.realpath(entry.path))
