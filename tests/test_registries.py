"""A space can name exactly what the trainables have."""

from typing import get_args

from search_spaces import METHODS as METHOD_SETTINGS
from search_spaces import Probe, Source
from search_spaces.data import KNOWN_SETS as KNOWN_NAMES
from trainables.backbones import KINDS
from trainables.data import SHIFTS, SOURCES
from trainables.data.known_sets import KNOWN_SETS
from trainables.methods import METHODS
from trainables.probes import PROBES


def names(annotation: object) -> set[str]:
    """All strings in an annotation made of literals."""
    arguments = get_args(annotation)
    return {a for a in arguments if isinstance(a, str)} | {n for a in arguments for n in names(a)}


def test_methods() -> None:
    assert set(METHOD_SETTINGS) == set(METHODS)
    assert {n: s.packable for n, s in METHOD_SETTINGS.items()} == {n: m.packable for n, m in METHODS.items()}


def test_sources_and_shifts() -> None:
    assert names(Source.model_fields["source"].annotation) == set(SOURCES)
    assert names(Source.model_fields["shift"].annotation) == set(SHIFTS)


def test_known_data_sets() -> None:
    assert set(KNOWN_NAMES) == set(KNOWN_SETS)


def test_probes() -> None:
    assert names(Probe.model_fields["score"].annotation) == set(PROBES)


def test_block_kinds() -> None:
    assert set(METHOD_SETTINGS["lora"](name="lora").blocks) == set(KINDS)
