"""What may be changed of a sweep that has begun, and what may be added to it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search_spaces import Space, SpaceError, change_space
from search_spaces.errors import shorten
from sweeper.errors import UserError

_MAY_CHANGE = ("search.trials", "search.hours", "search.patience", "tracking")


def changed(space: Space, overrides: Sequence[str]) -> Space:
    """The space with other resources, or another end of the search.

    Args:
        space: as the sweep has it.
        overrides: such as ``resources.cpus_per_trial=2``.

    Raises:
        UserError: another value is to be changed.
        SpaceError: a value is none.
    """
    paths = paths_of(overrides)
    fixed = [path for path in paths if path not in _MAY_CHANGE and path.partition(".")[0] != "resources"]
    if fixed:
        raise UserError(
            f"--set {', '.join(fixed)}: cannot be changed in a sweep that has begun, whose trials would "
            f"differ in more than what is searched; resources and {', '.join(_MAY_CHANGE)} can"
        )
    return change_space(space, overrides)


def enqueued(space: Space, values: Sequence[str]) -> dict[str, Any]:
    """The values of a trial to begin next, by their paths; what is left out the sampler chooses.

    Args:
        space: as the sweep has it.
        values: such as ``method.rank=4``.

    Raises:
        UserError: there are none, or one is not searched, or not among what is searched of it.
    """
    if not values:
        raise UserError(
            f"give values to begin with, of {', '.join(space.search.parameters) or 'nothing here'}"
        )
    here, data = "search.enqueue.0.", space.dump()
    data["search"]["enqueue"] = [{}]
    try:
        (found,) = change_space(data, [f"{here}{value}" for value in values]).search.enqueue
    except SpaceError as error:
        raise UserError(str(error).replace(f"--set {here}", "").replace(here, "")) from None
    return found


def paths_of(overrides: Sequence[str]) -> list[str]:
    """What the overrides change."""
    return [override.partition("=")[0].strip() for override in overrides]


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Where the settings of two spaces differ: dotted names, with the value of each.

    Args:
        there, here: settings by name, sections as mappings of their own.
    """
    old, new = dict(_flat(there)), dict(_flat(here))
    return [
        f"{name} ({shorten(json.dumps(old.get(name)))} there, {shorten(json.dumps(new.get(name)))} here)"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{rest}", part) for rest, part in _flat(value))
        else:
            yield name, value
