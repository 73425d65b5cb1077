"""Files that come as a tar archive, written as they come."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from sweeper.errors import UserError


def unpack(pieces: Iterator[bytes], folder: Path) -> None:
    """Writes the files of an archive into an empty folder.

    Nothing is written anywhere else, whatever the archive says: it may have plain files alone, each once and
    by a path below the folder.

    Args:
        pieces: of the archive, in order.
        folder: the folder.

    Raises:
        UserError: it is no such archive, it ends too early, or a file cannot be written.
    """
    stream = cast(IO[bytes], _Pieces(pieces))
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                to = folder / _place(member)
                to.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None  # it is a file
                with to.open("xb") as file:
                    shutil.copyfileobj(content, file)
    except tarfile.TarError as error:
        raise UserError(f"what the service sends is no whole archive ({error}); try again") from None
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    # Whether all has come is known at the end of the answer.
    for _ in pieces:
        pass


def _place(member: tarfile.TarInfo) -> PurePosixPath:
    place = PurePosixPath(member.name)
    if not member.isreg() or place.is_absolute() or ".." in place.parts or "\0" in member.name:
        raise UserError(f"the service sends {member.name!r}, which is no plain file of a model's folder")
    return place


class _Pieces:
    """An iterator as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int) -> bytes:
        """The next piece, of any size, as tarfile puts up with; nothing at the end."""
        return next(self._pieces, b"")
