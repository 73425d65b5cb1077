"""What is changed about pictures at random: torchvision's transforms, seeded picture by picture.

What becomes of a picture depends on its number in the epoch's draw alone: on no process, pack or file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from trainables.data import Pixels
from trainables.data.images import in_one

_TENSORS_TAKE = ("bilinear", "bicubic")
_OPERATIONS = 2  # of RandAugment on a picture, as in its paper

LARGEST_DRAW = 2**63 - 1

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From pixels (G, B, 3, H, W) and labels (G, B) to mixed pixels, float, and the classes' shares (G, B, C)."""


@dataclass(frozen=True)
class Augmentation:
    """How pictures are changed.

    Attributes:
        size: side of the model's square, px.
        crop: least share of the area that a random crop keeps; 1 crops nothing.
        flip: whether half of the pictures are mirrored.
        randaugment: magnitude of RandAugment (Cubuk et al., 2020), of 31 steps; None leaves it out.
        interpolation: of a crop that is brought to the model's size.
    """

    size: int
    crop: float = 1.0
    flip: bool = False
    randaugment: int | None = None
    interpolation: str = "bicubic"

    def __bool__(self) -> bool:
        return self.crop < 1 or self.flip or self.randaugment is not None

    @cached_property
    def transform(self) -> v2.Compose:
        """From a picture (3, H, W), uint8, to (3, S, S), uint8."""
        steps: list[v2.Transform] = [v2.Identity()]
        if self.crop < 1:
            kind = self.interpolation if self.interpolation in _TENSORS_TAKE else "bicubic"
            steps.append(
                v2.RandomResizedCrop(self.size, (self.crop, 1.0), interpolation=InterpolationMode(kind))
            )
        if self.flip:
            steps.append(v2.RandomHorizontalFlip())
        if self.randaugment is not None:
            steps.append(v2.RandAugment(_OPERATIONS, self.randaugment))
        return v2.Compose(steps)


@dataclass(frozen=True)
class Augmented:
    """Pictures that are changed when they are asked for.

    Attributes:
        pictures: whole ones where they are cut, else as the model sees them.
    """

    pictures: Tensor | Pixels
    augmentation: Augmentation

    def __getitem__(self, drawn: tuple[Tensor, Tensor]) -> Tensor:
        """Pictures (n, 3, S, S), uint8, of rows (n,), each changed by its own seed (n,)."""
        rows, seeds = drawn
        return in_one(
            [self._changed(row, seed) for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True)]
        )

    def _changed(self, row: int, seed: int) -> Tensor:
        pictures = self.pictures
        picture = pictures[row] if isinstance(pictures, Tensor) else pictures.picture(row)
        with _seeded(seed):
            changed: Tensor = self.augmentation.transform(picture)
        return changed


def mixup(alpha: float, classes: int, seeds: Tensor) -> Mix:
    """Each member's pictures of a step mixed with one another: mixup (Zhang et al., 2018).

    Args:
        alpha: of the Beta distribution of the shares.
        classes: C.
        seeds: (G,), of each member's share.
    """
    mix = v2.MixUp(alpha=alpha, num_classes=classes)

    def one(pixels: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        with _seeded(seed):
            mixed: tuple[Tensor, Tensor] = mix(pixels.float(), labels)
        return mixed

    def every(pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        each = [one(p, y, seed) for p, y, seed in zip(pixels, labels, seeds.tolist(), strict=True)]
        return torch.stack([p for p, _ in each]), torch.stack([y for _, y in each])

    return every


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torchvision draws from torch's own generator, which is left as it was."""
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
