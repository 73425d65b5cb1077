"""Data sets whose class names and templates are known: those that CLIP_benchmark uses for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class KnownSet(NamedTuple):
    """What is known of a data set.

    Attributes:
        classes: in the order of torchvision's labels; None where the set's own names are used.
        templates: sentences with one ``{}`` each.
    """

    classes: tuple[str, ...] | None
    templates: tuple[str, ...]


def _read() -> dict[str, KnownSet]:
    sets = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    del sets["origin"]
    return {
        name: KnownSet(found["classes"] and tuple(found["classes"]), tuple(found["templates"]))
        for name, found in sets.items()
    }


KNOWN_SETS: Mapping[str, KnownSet] = _read()
"""By the name of torchvision's data set in lower case; tools/known_sets.py has written them."""
