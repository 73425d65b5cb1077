"""Shifts: the same images, seen under other conditions. Pure, deterministic, uint8 to uint8."""

from collections.abc import Callable
from dataclasses import replace
from math import cos, radians, sin

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.images import ImageSet

Shift = Callable[[ImageSet], ImageSet]

_ANGLE = 30.0  # degrees, counter-clockwise
_BLUR = 1 / 10  # standard deviation of the blur, of the image side
_NOISE = 64.0  # standard deviation of the noise, of 255
_SEED = 0


def inverted(images: ImageSet) -> ImageSet:
    """Give the negative: v becomes 255 - v."""
    return replace(images, pixels=255 - images.pixels)


def rotated(images: ImageSet) -> ImageSet:
    """Turn every image by 30 degrees counter-clockwise; the corners take the nearest edge value."""
    cosine, sine = cos(radians(_ANGLE)), sin(radians(_ANGLE))
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]]).expand(len(images), -1, -1)
    grid = F.affine_grid(turn, list(images.pixels.shape), align_corners=False)
    turned = F.grid_sample(images.pixels.float(), grid, padding_mode="border", align_corners=False)
    return replace(images, pixels=_to_bytes(turned))


def blurred(images: ImageSet) -> ImageSet:
    """Blur with a Gaussian whose standard deviation is a tenth of the image side."""
    sigma = images.pixels.shape[-1] * _BLUR
    reach = round(2 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (weights / weights.sum()).expand(3, 1, 1, -1)
    padded = F.pad(images.pixels.float(), [reach] * 4, mode="replicate")
    along_rows = F.conv2d(padded, kernel, groups=3)
    return replace(images, pixels=_to_bytes(F.conv2d(along_rows, kernel.mT, groups=3)))


def noisy(images: ImageSet) -> ImageSet:
    """Add seeded Gaussian noise with a standard deviation of 64 of 255, to each channel by itself."""
    rng = torch.Generator().manual_seed(_SEED)
    noise = _NOISE * torch.randn(images.pixels.shape, generator=rng)
    return replace(images, pixels=_to_bytes(images.pixels + noise))


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


SHIFTS: dict[str, Shift] = {"inverted": inverted, "rotated": rotated, "blurred": blurred, "noisy": noisy}
