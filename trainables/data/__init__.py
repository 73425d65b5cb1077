"""What is learned and what must not be forgotten: sources, shifts, splits."""

from collections.abc import Callable

from trainables.data.digits import digits
from trainables.data.glyphs import glyph_colors, glyphs
from trainables.data.images import ImageSet, Task
from trainables.data.shifts import SHIFTS

SOURCES: dict[str, Callable[[int], Task]] = {
    "digits": digits,
    "glyphs": glyphs,
    "glyph_colors": glyph_colors,
}


def load_task(source: str, image_size: int) -> Task:
    """Give the task named ``source``, with images of ``image_size`` px a side."""
    return SOURCES[source](image_size)


def shifted(images: ImageSet, shift: str | None) -> ImageSet:
    """Give the images under the shift of that name; ``None`` leaves them as they are."""
    return images if shift is None else SHIFTS[shift](images)


__all__ = ["SHIFTS", "SOURCES", "ImageSet", "Task", "load_task", "shifted"]
