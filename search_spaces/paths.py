"""Dotted paths: how a person names one value of a space, and how a value is put there."""

from collections.abc import Mapping
from typing import Any

from search_spaces.errors import Mistake, Path, shown


class PutError(Exception):
    """The path leads nowhere: past the end of a list, or through a value that has no parts."""

    def __init__(self, path: Path, text: str):
        super().__init__(text)
        self.mistake = Mistake(path, text)


def put(data: dict[str, Any], path: str, value: object) -> Path:
    """Put the value at the path, making the mappings that lead to it.

    Returns:
        the path of what is new: of the value, or of the first mapping that was made for it.

    Raises:
        PutError: see there.
    """
    *parents, last = steps(path)
    holder: Any = data
    at: Path = ()
    made: Path | None = None
    for step in parents:
        key = _key(holder, step, at)
        at = (*at, key)
        known = isinstance(holder, list) or holder.get(key) is not None
        if not known:
            holder[key] = {}
            made = made or at
        holder = holder[key]
    key = _key(holder, last, at)
    holder[key] = value
    return made or (*at, key)


def below(section: str, changes: Mapping[str, object]) -> dict[str, Any]:
    """The changes of one section, under what follows its name: ``lr`` for ``training.lr``."""
    prefix = f"{section}."
    return {path.removeprefix(prefix): v for path, v in changes.items() if path.startswith(prefix)}


def steps(path: str) -> list[str]:
    """The keys of a dotted path. A parameter, and a change of a baseline, has a key with a dot in it."""
    keys = path.split(".")
    if not all(keys):
        raise PutError((), f"the path {path!r} has an empty part; write it like search.trials")
    match keys:
        case ["search", "parameters", section, key, "when", of, named, *rest]:
            return ["search", "parameters", f"{section}.{key}", "when", f"{of}.{named}", *rest]
        case ["search", "parameters", section, key, *rest]:
            return ["search", "parameters", f"{section}.{key}", *rest]
        case ["search", "enqueue", place, section, key, *rest]:
            return ["search", "enqueue", place, f"{section}.{key}", *rest]
        case ["baselines", place, "set" | "each" as kind, section, key, *rest]:
            return ["baselines", place, kind, f"{section}.{key}", *rest]
    return keys


def _key(holder: object, step: str, at: Path) -> str | int:
    """The step as a key of a mapping, or as a position in a list."""
    if isinstance(holder, dict):
        return step
    if not isinstance(holder, list):
        raise PutError(at, f"is {shown(holder)}, which has no {step!r} in it")
    if step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(holder):
        return int(step)
    positions = f"0 to {len(holder) - 1}" if holder else "none: the list is empty"
    raise PutError(at, f"is a list, which has no {step!r} in it; its positions are {positions}")
