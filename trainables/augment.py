"""Random crops and flips of a batch, on the device where it is."""

from collections.abc import Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# Bounds of a crop's width over its height.
_NARROWEST, _WIDEST = 3 / 4, 4 / 3


def draw_boxes(count: int, crop: float, flip: bool, generators: Sequence[Generator]) -> Tensor | None:
    """For ``count`` pictures of each of K members, the part of the picture that is seen.

    As torchvision's RandomResizedCrop and RandomHorizontalFlip: the part's share of the area is drawn evenly
    from ``crop`` to 1, its shape from 3:4 to 4:3, its place evenly.

    Args:
        count: B.
        crop: least share of the area; 1 leaves pictures whole.
        flip: whether half of the pictures are mirrored.
        generators: a source of random numbers for each member, so that a member's pictures do not depend on
            its pack.

    Returns:
        (K, B, 2, 3), the affine maps from the new picture to the old one; None where there is nothing to do.
    """
    if crop == 1.0 and not flip:
        return None
    return torch.stack([_boxes(count, crop, flip, generator) for generator in generators])


def augmented(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Each picture cut to a part of it, and brought back to its size, bilinear.

    Args:
        pixels: (N, 3, H, W) from 0 to 255, uint8, on the device where they are wanted.
        boxes: (N, 2, 3), as `draw_boxes` gives them.

    Returns:
        (N, 3, H, W), float from 0 to 255.
    """
    grid = F.affine_grid(boxes.to(pixels.device), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)


def _boxes(count: int, crop: float, flip: bool, generator: Generator) -> Tensor:
    """(count, 2, 3): the affine maps from the new picture to the old one."""
    area = crop + (1 - crop) * torch.rand(count, generator=generator)
    low, high = (log(_NARROWEST), log(_WIDEST)) if crop < 1 else (0.0, 0.0)
    shape = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    # No side is longer than the picture's, and the share is kept: such a part is less narrow than was drawn.
    width = (area * shape).sqrt().clamp(max=1.0).maximum(area)
    height = area / width
    across, down = (2 * torch.rand(count, generator=generator) - 1 for _ in range(2))
    mirrored = torch.rand(count, generator=generator) < 0.5
    sign = torch.where(mirrored & torch.tensor(flip), -1.0, 1.0)
    zero = torch.zeros(count)
    rows = [sign * width, zero, across * (1 - width), zero, height, down * (1 - height)]
    return torch.stack(rows, dim=1).view(-1, 2, 3)
