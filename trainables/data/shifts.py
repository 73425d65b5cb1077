"""Shifts: the same pictures, seen under other conditions. Pure, deterministic, uint8 to uint8.

Most are named and made as in ImageNet-C (Hendrycks and Dietterich, 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations"); the constants of noisy and blurred are our own, and
lengths go by the picture's side, since ours may have 32 px. What becomes of a picture depends on its pixels,
its row and the severity alone, never on the batch that it is asked for with.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from math import cos, radians, sin

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainables.data.images import ImageSet, Pixels

Change = Callable[[Tensor, int, int], Tensor]
"""(picture (3, H, W) uint8, row, severity) to the changed picture."""

# For severity 1 to 5.
_ANGLE = (10.0, 20.0, 30.0, 45.0, 60.0)  # degrees, counter-clockwise
_BLUR = (0.025, 0.05, 0.1, 0.15, 0.2)  # standard deviation of the blur, of the picture's side
_NOISE = (16.0, 32.0, 64.0, 96.0, 128.0)  # standard deviation of the noise, of 255
_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # what is left of the difference to the channel's mean
_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # what is added to the value of hue, saturation, value, of 1
_PIXELS = (0.6, 0.5, 0.4, 0.3, 0.25)  # what is left of the side
_QUALITY = (25, 18, 15, 10, 7)  # of JPEG

_SEED = 0
_AT_ONCE = 256  # pictures


def inverted(picture: Tensor, row: int, severity: int) -> Tensor:
    """Give the negative: v becomes 255 - v. It has no severity."""
    return 255 - picture


def rotated(picture: Tensor, row: int, severity: int) -> Tensor:
    """Turn counter-clockwise, by 30 degrees at severity 3; the corners take the nearest edge value."""
    angle = radians(_ANGLE[severity - 1])
    turn = torch.tensor([[[cos(angle), -sin(angle), 0.0], [sin(angle), cos(angle), 0.0]]])
    grid = F.affine_grid(turn, [1, *picture.shape], align_corners=False)
    turned = F.grid_sample(picture[None].float(), grid, padding_mode="border", align_corners=False)
    return _to_bytes(turned[0])


def blurred(picture: Tensor, row: int, severity: int) -> Tensor:
    """Blur with a Gaussian, whose standard deviation is a tenth of the picture's side at severity 3."""
    sigma = picture.shape[-1] * _BLUR[severity - 1]
    reach = round(2 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (weights / weights.sum()).view(1, 1, 1, -1)
    padded = F.pad(picture[:, None].float(), [reach] * 4, mode="replicate")
    return _to_bytes(F.conv2d(F.conv2d(padded, kernel), kernel.mT)[:, 0])


def noisy(picture: Tensor, row: int, severity: int) -> Tensor:
    """Add Gaussian noise, of 64 of 255 at severity 3, to each channel by itself; the row is its seed."""
    drawn = np.random.default_rng((_SEED, row)).standard_normal(tuple(picture.shape), dtype=np.float32)
    return _to_bytes(picture + _NOISE[severity - 1] * torch.from_numpy(drawn))


def contrast(picture: Tensor, row: int, severity: int) -> Tensor:
    """Bring every channel nearer to its mean, to a fifth of the difference at severity 3."""
    mean = picture.float().mean((1, 2), keepdim=True)
    return _to_bytes(mean + _CONTRAST[severity - 1] * (picture - mean))


def brightness(picture: Tensor, row: int, severity: int) -> Tensor:
    """Raise the value of hue, saturation, value, by 0.3 at severity 3, and keep the other two."""
    value = picture.amax(0, keepdim=True).float()
    raised = (value + 255 * _BRIGHTNESS[severity - 1]).clamp(max=255)
    # At a fixed hue and saturation the channels are proportional to the value; black has no saturation.
    return _to_bytes(torch.where(value > 0, picture * raised / value.clamp(min=1), raised))


def pixelated(picture: Tensor, row: int, severity: int) -> Tensor:
    """Shrink, to 0.4 of the side at severity 3, and enlarge again, both by areas."""
    whole = _to_pil(picture)
    side = max(1, int(whole.width * _PIXELS[severity - 1]))
    coarse = whole.resize((side, side), Image.Resampling.BOX)
    return _to_tensor(coarse.resize(whole.size, Image.Resampling.BOX))


def jpeg(picture: Tensor, row: int, severity: int) -> Tensor:
    """Write and read as JPEG, of quality 15 at severity 3."""
    written = BytesIO()
    _to_pil(picture).save(written, "JPEG", quality=_QUALITY[severity - 1])
    return _to_tensor(Image.open(written))


SHIFTS: dict[str, Change] = {
    "inverted": inverted,
    "rotated": rotated,
    "blurred": blurred,
    "noisy": noisy,
    "contrast": contrast,
    "brightness": brightness,
    "pixelated": pixelated,
    "jpeg": jpeg,
}


@dataclass(frozen=True)
class ShiftedPixels:
    """Pictures that are changed when they are asked for."""

    pixels: Tensor | Pixels
    shift: str
    severity: int

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Changed pictures (n, 3, S, S), uint8, of rows (n,)."""
        pixels, change = self.pixels[rows], SHIFTS[self.shift]
        changed = [
            change(picture, row, self.severity) for picture, row in zip(pixels, rows.tolist(), strict=True)
        ]
        return torch.stack(changed) if changed else pixels

    def picture(self, row: int) -> Tensor:
        """One changed picture (3, S, S), uint8."""
        return self[torch.tensor([row])][0]

    def made_ready(self) -> "ShiftedPixels":
        """The same pictures, made ready on this machine."""
        return self if isinstance(self.pixels, Tensor) else replace(self, pixels=self.pixels.made_ready())


def shifted(images: ImageSet, shift: str | None, severity: int | None) -> ImageSet:
    """Give images on the CPU under the shift of that name; ``None`` leaves them as they are.

    Pictures in memory are changed at once, others when they are asked for. A shift without severities takes
    ``None`` for it.
    """
    if shift is None or len(images) == 0:
        return images
    changed = replace(images, pixels=ShiftedPixels(images.pixels, shift, severity or 1), whole=None)
    if isinstance(images.pixels, Tensor):
        return replace(changed, pixels=torch.cat(list(changed.batches(_AT_ONCE))))
    return changed


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _to_pil(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def _to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
