"""What a person is told about a space that cannot be used."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Where something stands in a space: the keys and list positions from the top."""

LONGEST_SHOWN = 80


class Place(NamedTuple):
    """Where a mistake was written: sorts as a reader meets it, prints as a reader finds it."""

    order: int
    text: str


class Mistake(NamedTuple):
    """One thing that is wrong, at a path of the space. A place overrides where the path was written."""

    path: Path
    text: str
    place: Place | None = None


class SpaceError(Exception):
    """A space that cannot be used. Its text has one line a mistake."""

    def __init__(self, lines: Sequence[str]):
        super().__init__("\n".join(lines))


def line_of(mistake: Mistake, place: Place | None = None) -> str:
    """The mistake as one line: place, dotted key, what is wrong."""
    parts = (place.text if place else "", dotted(mistake.path), mistake.text)
    return ": ".join(part for part in parts if part)


def dotted(path: Path) -> str:
    """The path as it is written in an override."""
    return ".".join(part if str(part).isprintable() else repr(part) for part in map(str, path))


def shown(value: object) -> str:
    """A value in the words of a space file, on one line and short."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return shorten(repr(value))


def shorten(text: str) -> str:
    """The text, cut where it is longer than a message should quote."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def nearest(name: object, names: Iterable[str]) -> str | None:
    """The name that was probably meant, if one is near."""
    by_lower = {known.lower(): known for known in names}
    found = get_close_matches(str(name).lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def remedy(name: object, names: Sequence[str], offer: str) -> str:
    """'did you mean ...?' where a name is near, else the whole offer."""
    meant = nearest(name, names)
    return f"did you mean {meant!r}?" if meant else f"{offer} {', '.join(names)}"
