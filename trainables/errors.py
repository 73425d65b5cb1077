"""What a person is told when a model or a data set cannot be had."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


class ProblemError(Exception):
    """One message that says what is missing or does not fit, and what to do."""


class MissingError(ProblemError):
    """Weights or data that are right as they are named, but are not on this machine."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Puts the place in the space before the message of whatever is wrong with it."""
    try:
        yield
    except ProblemError as error:
        raise type(error)(f"{place}.{error}") from error


def together(errors: list[ProblemError]) -> ProblemError:
    """All messages as one, a line each; missing only if nothing else is wrong.

    What is said of several places is said once, after all of them.
    """
    places: dict[str, list[str]] = {}
    for error in errors:
        place, _, text = str(error).partition(": ")
        places.setdefault(text, []).append(place)
    kind = MissingError if all(isinstance(error, MissingError) for error in errors) else ProblemError
    return kind("\n".join(f"{', '.join(where)}: {text}" for text, where in places.items()))


@cache
def warn(sentence: str) -> None:
    """Tell a person once what is done with data in a way that their owner may not expect."""
    print(f"warning: {sentence}", file=sys.stderr)


def unfetched(file: Path | str) -> str:
    """What to add to a message on a file that is only Git LFS's note of it; nothing on any other."""
    try:
        with Path(file).open("rb") as opened:
            is_pointer = opened.read(40).startswith(b"version https://git-lfs")
    except OSError:
        return ""
    return ": it is Git LFS's pointer to it; `git lfs pull` fetches the file itself" if is_pointer else ""
