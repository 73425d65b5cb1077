"""The pictures of one step, for a pack."""

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from trainables.augment import augmented
from trainables.backbones.forward_pass import Entry
from trainables.data import ImageSet


class Batch:
    """Pictures of a set, for each of G members or, where G is 1, the same for all.

    Args:
        images: the set.
        rows: (G, B), places in it.
        boxes: (G, B, 2, 3), as `draw_boxes` gives them; None where pictures are seen as they are.

    Attributes:
        reached: how far the frozen layers have been run on pictures that are the same for all.
    """

    def __init__(self, images: ImageSet, rows: Tensor, boxes: Tensor | None = None) -> None:
        self.images = images
        self.rows = rows
        self.boxes = boxes
        self.reached: Entry | None = None

    @cached_property
    def pixels(self) -> Tensor:
        """(G * B, 3, H, W), from 0 to 255."""
        pixels = self.images.pixels[self.rows.flatten()]
        return pixels if self.boxes is None else augmented(pixels, self.boxes.flatten(0, 1))

    @property
    def labels(self) -> Tensor:
        """(G, B)."""
        return self.images.labels[self.rows]

    def of(self, pictures: Tensor, members: Sequence[int]) -> Tensor:
        """(P * B, ...): what P members have in something of all pictures, (G * B, ...)."""
        each = pictures.unflatten(0, self.rows.shape)
        own = each[list(members)] if len(each) > 1 else each.expand(len(members), *each.shape[1:])
        flat: Tensor = own.flatten(0, 1)
        return flat
