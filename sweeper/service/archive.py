"""A folder as a tar archive that is made while it is sent, so that it needs neither memory nor a file."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

TYPE = "application/x-tar"

_CHUNK = 1 << 20  # bytes that are read at once
_END = bytes(2 * tarfile.BLOCKSIZE)


class Archive:
    """The files below a folder, by their paths there; none of them may change meanwhile.

    Attributes:
        size: bytes of all that iterating gives.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._members = [(path, _member(path, folder)) for path in files]
        self.size = len(_END) + sum(
            len(_header(member)) + member.size + len(_filling(member)) for _, member in self._members
        )

    def __iter__(self) -> Iterator[bytes]:
        """The archive, a piece after the other."""
        for path, member in self._members:
            yield _header(member)
            with path.open("rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece
            yield _filling(member)
        yield _END


def _member(path: Path, folder: Path) -> tarfile.TarInfo:
    member, stat = tarfile.TarInfo(path.relative_to(folder).as_posix()), path.stat()
    member.size, member.mtime = stat.st_size, int(stat.st_mtime)
    return member


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT)


def _filling(member: tarfile.TarInfo) -> bytes:
    """What fills the last block."""
    return bytes(-member.size % tarfile.BLOCKSIZE)
