import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from trainables.data import Preprocessing

MODES = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8), mode="RGB"
    )


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("crop", [1.0, 0.9, 0.875])
@pytest.mark.parametrize("size", [(97, 61), (61, 97), (32, 32), (20, 45), (37, 33)])
def test_it_is_the_resize_and_centre_crop_of_torchvision(
    size: tuple[int, int], crop: float, interpolation: str
) -> None:
    given = Preprocessing(32, interpolation, crop).apply(picture(*size))
    mode = v2.InterpolationMode(interpolation)
    transform = v2.Compose([v2.Resize(round(32 / crop), mode), v2.CenterCrop(32), v2.PILToTensor()])
    assert torch.equal(given, transform(picture(*size)))
    assert given.dtype == torch.uint8 and given.shape == (3, 32, 32) and given.is_contiguous()


@pytest.mark.parametrize("interpolation", MODES)
def test_a_square_picture_is_resized_by_pil(interpolation: str) -> None:
    resized = picture(90, 90).resize((32, 32), MODES[interpolation])
    given = Preprocessing(32, interpolation).apply(picture(90, 90))
    assert np.array_equal(given.permute(1, 2, 0).numpy(), np.array(resized))


def test_grey_and_transparent_pictures_become_rgb() -> None:
    grey = Image.new("L", (8, 8), 77)
    assert Preprocessing(8).apply(grey).unique().tolist() == [77]
    assert Preprocessing(8).apply(Image.new("RGBA", (8, 8), (1, 2, 3, 0)))[:, 0, 0].tolist() == [1, 2, 3]
