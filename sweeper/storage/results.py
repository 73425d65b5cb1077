"""Where checkpoints and the report are kept, if that is not the sweep's own folder."""

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, copy_files

from sweeper.errors import UserError


def checked(results: str | None) -> str | None:
    """The place as an absolute path or a URL; it is made if it is not there.

    Raises:
        UserError: it cannot be reached or made.
    """
    if results is None:
        return None
    if _has_more_than_a_place(results):
        raise UserError(
            "--results: keys and settings of the store belong into the environment of all machines, such as "
            "AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL, not into the URL, which is printed and kept"
        )
    absolute = results if "://" in results else str(Path(results).absolute())
    try:
        system, path = FileSystem.from_uri(absolute)
        system.create_dir(path, recursive=True)
    except (ArrowException, OSError, ValueError) as error:
        raise UserError(f"--results {results}: cannot be used: {error}") from None
    return absolute.rstrip("/")


def _has_more_than_a_place(results: str) -> bool:
    """Whether there are settings in the URL, or a user and a password, which may have a slash in it."""
    rest = results.partition("://")[2]
    host, _, port = rest.partition("/")[0].partition(":")
    return "?" in results or "@" in host or bool(port and (not port.isdecimal() or "@" in rest))


def is_there(place: str) -> bool:
    """Whether there is a file or folder at a path or URL."""
    system, path = FileSystem.from_uri(place)
    return bool(system.get_file_info(path).type != FileType.NotFound)


@contextmanager
def mark(results: str) -> Iterator[str]:
    """A file that nobody else has made, and that is gone afterwards; its path or URL."""
    system, path = FileSystem.from_uri(f"{results}/.seen-{uuid.uuid4().hex}")
    with system.open_output_stream(path) as file:
        file.write(b"seen")
    try:
        yield f"{results}/{Path(path).name}"
    finally:
        system.delete_file(path)


def keep_only(place: str, names: Collection[str]) -> None:
    """Deletes the folders in a path or URL that have other names."""
    system, path = FileSystem.from_uri(place)
    for found in system.get_file_info(FileSelector(path, allow_not_found=True)):
        if found.type is FileType.Directory and found.base_name not in names:
            system.delete_dir(found.path)


def publish(folder: Path, place: str) -> None:
    """Copies a local folder to a path or URL, over what is there."""
    system, path = FileSystem.from_uri(place)
    system.create_dir(path, recursive=True)
    copy_files(str(folder), path, destination_filesystem=system)
