"""Decoded pictures in files of this machine, made once for all of its processes.

The folder is that of the variable ``SWEEPER_CACHE``, else ``~/.cache/selective-lora-sweeper``; its files
take ``SWEEPER_CACHE_GIB`` together at most, 20 without it, none with 0. Files whose last use is a day ago
make room for new ones. Nothing is lost with the folder but time.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from trainables.errors import ProblemError, warn

_USUAL_GIB = 20.0
_UNUSED = 24 * 3600.0  # seconds after which a file may make room for another
_SPARE = 2**30  # bytes that are left free on the disk


def cache_folder() -> Path:
    """Where this machine keeps what it can make again."""
    named = os.environ.get("SWEEPER_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "selective-lora-sweeper"


def has_room(size: int) -> bool:
    """Whether a file of so many bytes may be kept; makes room for it, where old files can go.

    Raises:
        ProblemError: the bound is no number.
    """
    bound = _bound()
    if size > bound:
        return False
    # By their last use; what another process removes meanwhile takes nothing.
    files: list[tuple[float, int, Path]] = []
    for file in cache_folder().glob("*"):
        with suppress(FileNotFoundError):
            if file.suffix != ".lock":
                files.append((file.stat().st_mtime, file.stat().st_size, file))
    taken = sum(held for _, held, _ in files)
    for used, held, file in sorted(files):
        if taken + size <= bound or time.time() - used < _UNUSED:
            break
        file.unlink(missing_ok=True)
        taken -= held
    return taken + size <= bound


def _bound() -> float:
    given = os.environ.get("SWEEPER_CACHE_GIB", "")
    try:
        bound = float(given or _USUAL_GIB)
    except ValueError:
        bound = -1.0
    if not bound >= 0:
        raise ProblemError(f"SWEEPER_CACHE_GIB: expects a number of GiB of at least 0, got {given!r}")
    return bound * 2**30


@contextmanager
def only_maker(name: str) -> Iterator[None]:
    """One process of this machine at a time makes a file; others wait here.

    Raises:
        OSError: the folder cannot be written.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def whole(name: str, size: int = 0) -> Iterator[BinaryIO]:
    """A file that is there under its name once it is whole, and not at all if anything goes wrong.

    Args:
        name: of the file.
        size: bytes that it will have, as far as that is known.

    Raises:
        OSError: it cannot be written.
    """
    folder = cache_folder()
    if shutil.disk_usage(folder).free < size + _SPARE:
        raise OSError(f"the disk has no room for {size / 2**30:.1f} GiB and {_SPARE / 2**30:.0f} to spare")
    partial = folder / f"{name}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def used(name: str) -> Path | None:
    """A file that is there, and has been used now; None if it is not."""
    file = cache_folder() / name
    with suppress(OSError):
        os.utime(file)
    return file if file.is_file() else None


def not_kept(error: OSError) -> None:
    """Says once that the folder cannot be used."""
    reason = error.strerror or str(error)
    warn(
        f"pictures are decoded anew every time, since {cache_folder()} cannot keep them: {reason}; "
        "SWEEPER_CACHE names another folder"
    )
