"""How a picture becomes the input of a model, but for the model's own normalisation."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants to see a picture.

    Attributes:
        size: side of the square input, px.
        interpolation: ``bicubic``, ``bilinear`` or ``nearest``, as PIL, timm and open_clip name it.
        crop: share of the picture that is seen: its shorter side is resized to ``round(size / crop)``, then
            the centre is cut out.
    """

    size: int
    interpolation: str = "bicubic"
    crop: float = 1.0

    def apply(self, picture: Image.Image) -> Tensor:
        """Give a picture as (3, size, size), uint8: torchvision's Resize and CenterCrop of the PIL image."""
        shorter_side = round(self.size / self.crop)
        large = resize(picture.convert("RGB"), shorter_side, InterpolationMode(self.interpolation))
        square = center_crop(large, self.size)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()
