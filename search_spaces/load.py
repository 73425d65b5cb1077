"""From a space file and overrides to a space, or to one message that names every mistake and its place."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path as FilePath
from typing import Any

from search_spaces.errors import Mistake, Path, Place, SpaceError, line_of, nearest, shorten, shown
from search_spaces.paths import PutError, put
from search_spaces.space import Space, examine
from search_spaces.yaml_text import Document, NotYamlError, read

LARGEST_FILE = 65_536
AFTER_THE_FILE = 10**9


class Places:
    """Where every path of a space was written: a line of the file, or an override."""

    def __init__(self, file: FilePath | None, lines: dict[Path, int]):
        self._file = file
        self._at = {path: self.on_line(line) for path, line in lines.items()}

    def on_line(self, line: int) -> Place:
        """A line of the file; nowhere, if there is none."""
        return Place(line, f"{self._file}:{line}" if self._file else "")

    def of(self, path: Path) -> Place:
        """Where the path was written, or else the section that should have it."""
        while path and path not in self._at:
            path = path[:-1]
        return self._at.get(path, self.on_line(1))

    def move(self, path: Path, place: Place) -> None:
        """Everything at the path and below was written in another place."""
        self._at = {known: at for known, at in self._at.items() if known[: len(path)] != path}
        self._at[path] = place


def load_space(path: FilePath | str, overrides: Sequence[str] = ()) -> Space:
    """The space of a file, with overrides such as "search.trials=64", whose values are YAML, put into it.

    Raises:
        SpaceError: the file cannot be read or an override cannot be applied, or what they describe is not
            a space; one line a mistake, which names the place, the dotted key, and what to write instead.
    """
    file = FilePath(path)
    document = _document(file)
    data, places = document.data, Places(file, document.lines)
    mistakes = [Mistake(fault.path, fault.text, places.on_line(fault.line)) for fault in document.faults]
    for override in overrides:
        mistakes += _apply(override, data, places)
    found = examine(data)
    if isinstance(found, Space) and not mistakes:
        return found
    if not isinstance(found, Space):
        unread = {fault.path for fault in document.faults}
        mistakes += [mistake for mistake in found if mistake.path not in unread]
    raise SpaceError(list(_lines(mistakes, places)))


def change_space(space: Space | Mapping[str, Any], overrides: Sequence[str]) -> Space:
    """A space, or the mapping that a space file holds, with overrides as for `load_space`.

    Raises:
        SpaceError: as there.
    """
    if not isinstance(space, Space | Mapping):
        raise SpaceError([f"expects a space or a mapping of its sections, got {shown(space)}"])
    data = space.dump() if isinstance(space, Space) else deepcopy(dict(space))
    places = Places(None, {})
    mistakes = [mistake for override in overrides for mistake in _apply(override, data, places)]
    found = examine(data)
    if isinstance(found, Space) and not mistakes:
        return found
    raise SpaceError(list(_lines(mistakes or (found if isinstance(found, list) else []), places)))


def as_text(path: str, text: str) -> str:
    """An override that puts a text at a path, also one that YAML would read as a number or true."""
    return f"{path}={json.dumps(text)}"


def _lines(mistakes: Sequence[Mistake], places: Places) -> Iterator[str]:
    placed = [(mistake.place or places.of(mistake.path), mistake) for mistake in mistakes]
    for place, mistake in sorted(placed, key=lambda pair: pair[0].order):
        yield line_of(mistake, place)


def _document(file: FilePath) -> Document:
    """The file's values, which are a mapping."""
    try:
        document = read(_text(file))
    except NotYamlError as error:
        raise SpaceError([f"{file}:{error.line}: {error}"]) from error
    if document.data is None and not document.faults:
        raise SpaceError([f"{file}:1: the file is empty; a space begins with 'sweep: <name>'"])
    if not isinstance(document.data, dict):
        sections = ", ".join(Space.model_fields)
        text = f"expects the sections of a space ({sections}), got {shown(document.data)}"
        faults = [f"{file}:{fault.line}: {fault.text}" for fault in document.faults]
        raise SpaceError(faults or [f"{file}:{document.lines[()]}: {text}"])
    return document


def _text(file: FilePath) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise SpaceError([f"{file}: no such file{_nearest_file(file)}"]) from error
    except IsADirectoryError as error:
        raise SpaceError(
            [f"{file}: a directory, not a space file{_nearest_file(file / 'space.yaml')}"]
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpaceError([f"{shown(str(file))}: cannot be read: {reason}"]) from error
    if len(content) > LARGEST_FILE:
        raise SpaceError([f"{file}: larger than {LARGEST_FILE} bytes, so not a space file"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpaceError([f"{file}:{line}: not UTF-8 text; save the file as UTF-8"]) from error


def _nearest_file(file: FilePath) -> str:
    """The space file in the same folder or in spaces/ that was probably meant, or those that there are."""
    folders = dict.fromkeys((file.parent, FilePath("spaces")))
    there = [str(known) for folder in folders for known in sorted(folder.glob("*.y*ml")) if known.is_file()]
    by_stem: dict[str, str] = {}
    for known in there:
        by_stem.setdefault(FilePath(known).stem, known)
    meant = nearest(file.stem, by_stem)
    if meant:
        return f"; did you mean {by_stem[meant]!r}?"
    return f"; there are {', '.join(there[:8])}" if there else ""


def _apply(override: str, data: dict[str, Any], places: Places) -> list[Mistake]:
    """Put one override into the data; its mistakes have its place."""
    written = override if override.isprintable() else repr(override)
    place = Place(AFTER_THE_FILE, f"--set {shorten(written)}")
    path, equals, text = override.partition("=")
    if not equals:
        return [Mistake((), "expects path=value, such as search.trials=64", place)]
    try:
        document = read(text)
        if document.faults:
            return [Mistake(fault.path, fault.text, place) for fault in document.faults]
        places.move(put(data, path.strip(), document.data), place)
    except NotYamlError as error:
        return [Mistake((), str(error), place)]
    except PutError as refusal:
        return [refusal.mistake._replace(place=place)]
    return []
