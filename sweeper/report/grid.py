"""Which blocks are active, laid out by layer and kind."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NAME = re.compile(r"^(?:(?P<tower>.*)\.)?(?P<layer>\d+)\.(?P<kind>.+)$")


@dataclass(frozen=True)
class Cell:
    """One block: its name and the share, 0 to 1, of trials in which it is active; None where no block is."""

    block: str
    share: float | None


@dataclass(frozen=True)
class Grid:
    """One tower of one trial: kinds down, layers across.

    Attributes:
        tower: ``image``; empty where names have none.
        layers: headings of the columns.
        rows: (kind, one cell a layer).
    """

    tower: str
    layers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def grids(blocks: Sequence[str], share: Mapping[str, float]) -> list[Grid]:
    """One grid a tower, from names such as ``image.3.qkv`` (tower, layer, kind).

    A name that does not read so stands alone, in a row of its own.

    Args:
        blocks: all blocks, in the order of the forward pass.
        share: how often a block is active, 0 to 1; a block that is not named is never active.
    """
    towers: dict[str, dict[tuple[str, str], str]] = {}
    for block in blocks:
        tower, layer, kind = _parts(block)
        towers.setdefault(tower, {})[layer, kind] = block
    return [_grid(tower, names, share) for tower, names in towers.items()]


def shares(blocks: Sequence[str], active: Sequence[Sequence[str]]) -> dict[str, float]:
    """How often each block is active over the trials, 0 to 1."""
    sets = [frozenset(names) for names in active]
    return {block: sum(block in names for names in sets) / max(len(sets), 1) for block in blocks}


def _grid(tower: str, names: Mapping[tuple[str, str], str], share: Mapping[str, float]) -> Grid:
    layers = tuple(dict.fromkeys(layer for layer, _ in names))
    kinds = dict.fromkeys(kind for _, kind in names)
    rows = []
    for kind in kinds:
        found = [names.get((layer, kind)) for layer in layers]
        cells = (Cell("", None) if block is None else Cell(block, share.get(block, 0.0)) for block in found)
        rows.append((kind, tuple(cells)))
    return Grid(tower, layers, tuple(rows))


def _parts(block: str) -> tuple[str, str, str]:
    match = _NAME.match(block)
    if match is None:
        return "", "", block
    return match["tower"] or "", match["layer"], match["kind"]
