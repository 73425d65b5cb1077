"""What the classes are called, and the sentences that they are put into."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.data.matching import imagenet_names
from trainables.errors import MissingError, ProblemError

USUAL_TEMPLATES = ("a photo of a {}.",)


def expanded(path: str, setting: str) -> str:
    """Give the path with ``${NAME}`` and ``~`` put in.

    Raises:
        MissingError: the environment has no such variable; it names the setting.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise MissingError(
                f"{setting}: the environment has no {found[1]}; set it, or give the whole path with --set"
            )
        return os.environ[found[1]]

    return str(Path(re.sub(r"\$\{(\w+)\}", value, path)).expanduser())


def class_names(source: Mapping[str, Any], own: Sequence[str]) -> tuple[str, ...]:
    """Give the names that the source asks for, else the set's own.

    Raises:
        ProblemError: there are not as many as the set has classes, or their file cannot be read.
    """
    asked = source["classes"]
    if asked is None:
        return tuple(own)
    # Folders called by ImageNet's ids say themselves which of its classes they are, all or some.
    names = (imagenet_names(own) if asked == "imagenet" else None) or _asked_names(asked)
    if len(names) != len(own):
        some = ", ".join(own[:3]) + (", ..." if len(own) > 3 else "")
        raise ProblemError(f"classes: {len(names)} names are given for the {len(own)} classes {some}")
    return names


def _asked_names(asked: str | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(asked, str):
        return tuple(asked)
    if asked == "imagenet":
        # Imported here, as below, since it takes seconds and few sets are named by it.
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

        return tuple(IMAGENET_CLASSNAMES)
    file = Path(expanded(asked, "classes"))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise MissingError(
            f"classes: no such file: {file}; expects imagenet, a list, or a text file with one name a line"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"classes: {file} cannot be read as UTF-8 text: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def sentences(source: Mapping[str, Any], own: Sequence[str] = USUAL_TEMPLATES) -> tuple[str, ...]:
    """Give the templates that the source asks for, else the set's own."""
    asked = source["templates"]
    if asked is None:
        return tuple(own)
    if not isinstance(asked, str):
        return tuple(asked)
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    collection = {"imagenet": OPENAI_IMAGENET_TEMPLATES, "simple": SIMPLE_IMAGENET_TEMPLATES}[asked]
    return tuple(template("{}") for template in collection)
