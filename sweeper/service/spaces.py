"""Spaces that were handed in: checked as the command line checks a file, and kept for the driver."""

import json
import tempfile
from pathlib import Path

from search_spaces import Space, SpaceError, load_space, parse_space
from search_spaces.load import LARGEST_FILE

#: What the text is called in messages.
_SHOWN = "space.yaml"


def read_yaml(text: bytes) -> Space:
    """The space of a text.

    Raises:
        SpaceError: as `load_space` raises it, with ``space.yaml`` for the name of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / _SHOWN
        file.write_bytes(text)
        try:
            return load_space(file)
        except SpaceError as error:
            raise SpaceError([str(error).replace(str(file), _SHOWN)]) from None


def read_json(text: bytes) -> Space:
    """The space of a JSON object.

    Raises:
        SpaceError: the text is no JSON, or describes no space.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpaceError([f"not JSON: {error}"]) from None
    return parse_space(data)


def keep(space: Space, folder: Path) -> Path:
    """Writes the space down, with all its defaults.

    Raises:
        SpaceError: it has become too long to be read again.
    """
    text = space.to_yaml()
    if len(text.encode()) > LARGEST_FILE:
        raise SpaceError([f"with its defaults the space is larger than {LARGEST_FILE} bytes"])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{space.sweep}.yaml"
    file.write_text(text)
    return file


def kept(folder: Path) -> list[str]:
    """Names of the sweeps whose spaces were handed in."""
    return [file.stem for file in folder.glob("*.yaml")]
