"""The probes: printed letters, and the colours they are printed in."""

from functools import cache

import torch

from trainables.data.drawing import HELD_OUT_FONTS, INKS, LETTERS, Drawings, Style, draw
from trainables.data.images import ImageSet, Task

_SPLITS = {"train": (1040, 7001), "val": (390, 7002), "test": (780, 7003)}  # images, seed


def glyphs(image_size: int) -> Task:
    """Which letter is printed: 26 classes, in fonts that tiny-clip has never been shown."""
    splits = [ImageSet(drawn.pixels, drawn.symbols) for drawn in _drawn(image_size).values()]
    return Task(LETTERS, ("the letter {}", "a picture of the letter {}"), *splits)


def glyph_colors(image_size: int) -> Task:
    """Which colour a letter is printed in: 8 classes, on dark backgrounds."""
    splits = [ImageSet(drawn.pixels, drawn.inks) for drawn in _drawn(image_size).values()]
    return Task(tuple(INKS), ("a {} letter", "a picture of a {} letter"), *splits)


@cache
def _drawn(image_size: int) -> dict[str, Drawings]:
    return {name: _letters(count, seed, image_size) for name, (count, seed) in _SPLITS.items()}


def _letters(count: int, seed: int, image_size: int) -> Drawings:
    """Draw every letter equally often; ``SYMBOLS`` begins with the letters, so indices are classes."""
    rng = torch.Generator().manual_seed(seed)
    return draw(torch.arange(count) % len(LETTERS), HELD_OUT_FONTS, Style(), image_size, rng)
