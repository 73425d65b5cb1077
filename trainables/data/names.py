"""What the classes are called, and the sentences that they are put into."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.errors import MissingError, ProblemError
from trainables.written import expanded

USUAL_TEMPLATES = ("a photo of a {}.",)


def class_names(source: Mapping[str, Any], own: Sequence[str]) -> tuple[str, ...]:
    """Give the names that the source asks for, else the set's own.

    Raises:
        ProblemError: there are not as many as the set has classes, or their file cannot be read.
    """
    asked = source["classes"]
    if asked is None:
        return tuple(own)
    names = _asked_names(asked)
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
