"""Random views of images: what differs between two of one image is what the model learns not to see."""

from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_BENDS = 4  # side of the grid whose random moves are spread smoothly over the image
_COARSE = 8  # side of a low-resolution scan, px


@dataclass(frozen=True)
class Views:
    """How far a view strays from its image; every range is sampled evenly, once an image.

    Attributes:
        rotation: largest angle either way, degrees.
        scale: smallest and largest size, relative to the image, of each axis by itself.
        shear: largest horizontal shear either way, as a slope.
        shift: largest move either way, as a share of half the image.
        bend: largest standard deviation of smooth local moves, as a share of half the image.
        brush: share of the views whose light strokes grow by a pixel, and share of those where they shrink.
        repaint: share of the views in two new colours, still light on dark.
        dark: least and greatest value of a channel of the new darkest colour.
        light: the same of the new lightest colour.
        coarse: share of the views that look like a low-resolution scan.
        noise: largest standard deviation of the pixel noise, of 1.
    """

    rotation: float = 15.0
    scale: tuple[float, float] = (0.75, 1.35)
    shear: float = 0.2
    shift: float = 0.15
    bend: float = 0.06
    brush: float = 0.2
    repaint: float = 0.9
    dark: tuple[float, float] = (0.0, 0.4)
    light: tuple[float, float] = (0.3, 1.0)
    coarse: float = 0.2
    noise: float = 0.06

    def __call__(self, images: Tensor, rng: Generator) -> Tensor:
        """Give one view an image, (N, 3, H, W) to (N, 3, H, W), values in [0, 1]."""
        seen = self._brushed(self._warped(images, rng), rng)
        seen = self._scanned(self._repainted(seen, rng), rng)
        strength = _between(0, self.noise, images, rng)
        return (seen + strength * torch.randn(seen.shape, generator=rng)).clamp(0, 1)

    def _warped(self, images: Tensor, rng: Generator) -> Tensor:
        """Rotate, scale, shear, shift and bend; outside the image its nearest edge goes on."""
        angle = _between(-self.rotation, self.rotation, images, rng).flatten() * pi / 180
        wide, high = (_between(*self.scale, images, rng).flatten() for _ in range(2))
        slope = _between(-self.shear, self.shear, images, rng).flatten()
        across, down = (_between(-self.shift, self.shift, images, rng).flatten() for _ in range(2))
        cosine, sine = angle.cos(), angle.sin()
        rows = [cosine / wide, (slope * cosine - sine) / wide, across]
        rows += [sine / high, (slope * sine + cosine) / high, down]
        grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
        strength = _between(0, self.bend, images, rng)
        moves = strength * torch.randn(len(images), 2, _BENDS, _BENDS, generator=rng)
        grid = grid + F.interpolate(moves, size=images.shape[-2:], mode="bicubic").permute(0, 2, 3, 1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _brushed(self, images: Tensor, rng: Generator) -> Tensor:
        """Make the strokes of some heavier and of some finer, as another pen or weight of a font would."""
        chosen = torch.rand(len(images), 1, 1, 1, generator=rng)
        padded = F.pad(images, [0, 1, 0, 1], mode="replicate")
        heavier, finer = F.max_pool2d(padded, 2, stride=1), -F.max_pool2d(-padded, 2, stride=1)
        return torch.where(chosen < self.brush, heavier, torch.where(chosen > 1 - self.brush, finer, images))

    def _repainted(self, images: Tensor, rng: Generator) -> Tensor:
        """Give new colours by lightness; light stays light, so that the sign of an edge keeps its meaning."""
        gray = images.mean(1, keepdim=True)
        low, high = gray.amin((2, 3), keepdim=True), gray.amax((2, 3), keepdim=True)
        coverage = (gray - low) / (high - low).clamp_min(1e-3)
        dark, light = _between(*self.dark, images, rng, 3), _between(*self.light, images, rng, 3)
        chosen = torch.rand(len(images), 1, 1, 1, generator=rng) < self.repaint
        return torch.where(chosen, dark + coverage * (light - dark), images)

    def _scanned(self, images: Tensor, rng: Generator) -> Tensor:
        """Bring a share of the images down to a low resolution and smoothly up again."""
        small = F.adaptive_avg_pool2d(images, _COARSE)
        chosen = torch.rand(len(images), 1, 1, 1, generator=rng) < self.coarse
        return torch.where(chosen, F.interpolate(small, size=images.shape[-2:], mode="bicubic"), images)


def _between(low: float, high: float, images: Tensor, rng: Generator, channels: int = 1) -> Tensor:
    """Draw numbers an image: (N, channels, 1, 1)."""
    return low + (high - low) * torch.rand(len(images), channels, 1, 1, generator=rng)


# What the teacher sees: nearly the drawing itself, as chalk on a board, so that what it says changes little
# from one time to the next. Under random weights, two wild views of an image agree hardly more than of two.
GENTLE = Views(
    rotation=4.0,
    scale=(0.9, 1.1),
    shear=0.0,
    shift=0.04,
    bend=0.0,
    brush=0.0,
    repaint=1.0,
    dark=(0.0, 0.0),
    light=(1.0, 1.0),
    coarse=0.0,
    noise=0.0,
)
# What the student sees.
WILD = Views()
