import colorsys
import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from trainables.data import SHIFTS, SHIPPED, ImageSet, TimmPreprocessing, shifted
from trainables.data.pictures import LazyPixels, file_pictures
from trainables.data.shifts import ShiftedPixels

# How far a picture is from itself turned does not say how far it was turned.
GRADED = [name for name in SHIFTS if name not in ("inverted", "rotated")]


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return SHIPPED["digits"](32).val


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A picture (3, 40, 40) of soft colours, with edges."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    values = np.array(coarse.resize((40, 40), Image.Resampling.BICUBIC))
    values[10:20, 12:25] //= 3
    return torch.from_numpy(values).permute(2, 0, 1)


def one(picture: Tensor, shift: str, severity: int | None) -> Tensor:
    """One picture under a shift."""
    pixels = shifted(ImageSet(picture[None], torch.zeros(1, dtype=torch.int64)), shift, severity).pixels
    assert isinstance(pixels, Tensor)
    return pixels[0]


def pil(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_pure_deterministic_and_clear(name: str, images: ImageSet) -> None:
    before = images.pixels[:].clone()
    once, again = shifted(images, name, 3), shifted(images, name, 3)
    assert torch.equal(images.pixels[:], before)
    assert torch.equal(once.pixels[:], again.pixels[:])
    assert once.pixels[:].dtype == torch.uint8 and once.pixels[:].shape == before.shape
    assert torch.equal(once.labels, images.labels)
    least = 2 if name == "jpeg" else 8
    assert (once.pixels[:].float() - before.float()).abs().mean() > least


@pytest.mark.parametrize("name", SHIFTS)
def test_what_becomes_of_a_picture_does_not_depend_on_its_batch(name: str, images: ImageSet) -> None:
    whole = shifted(images, name, 4).pixels
    lazy = ShiftedPixels(images.pixels, name, 4)
    rows = torch.tensor([299, 5, 5, 0, 17])
    assert torch.equal(lazy[rows], whole[rows])
    assert torch.equal(torch.cat(list(ImageSet(lazy, images.labels).batches(100))), whole)
    assert lazy[rows[:0]].shape == (0, 3, 32, 32)


@pytest.mark.parametrize("name", GRADED)
def test_a_higher_severity_changes_more(name: str, photo: Tensor) -> None:
    far = [float((one(photo, name, severity).float() - photo).pow(2).mean()) for severity in range(1, 6)]
    assert all(low < high for low, high in pairwise(far)), far


def test_no_shift_gives_the_images_themselves(images: ImageSet) -> None:
    assert shifted(images, None, None) is images


def test_a_lazy_set_stays_lazy(tmp_path: Path, write_picture: Callable[..., Path]) -> None:
    files = [write_picture(tmp_path / f"{seed}.png", seed) for seed in range(4)]
    plain = LazyPixels(file_pictures(tmp_path, files), TimmPreprocessing(16))
    images = shifted(ImageSet(plain, torch.arange(4)), "noisy", 2)
    in_memory = shifted(ImageSet(plain[torch.arange(4)], torch.arange(4)), "noisy", 2)
    assert isinstance(images.pixels, ShiftedPixels) and len(images.pixels) == 4
    assert torch.equal(images.pixels[torch.arange(4)], in_memory.pixels[:])
    again = pickle.loads(pickle.dumps(images))
    assert torch.equal(again.pixels[torch.tensor([2, 0])], in_memory.pixels[torch.tensor([2, 0])])
    assert torch.equal(again.pixels.picture(3), in_memory.pixels[3])


def test_inverting_twice_gives_the_image_back(photo: Tensor) -> None:
    assert torch.equal(one(one(photo, "inverted", None), "inverted", None), photo)
    assert torch.equal(one(photo, "inverted", None), tv.invert(photo))


@pytest.mark.parametrize(("severity", "angle"), [(1, 10.0), (2, 20.0), (3, 30.0), (4, 45.0), (5, 60.0)])
def test_rotation_is_that_of_torchvision_inside_the_circle(
    severity: int, angle: float, photo: Tensor
) -> None:
    turned = one(photo, "rotated", severity).float()
    theirs = tv.rotate(photo.float(), angle, tv.InterpolationMode.BILINEAR)
    rows, columns = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(40) - 19.5, indexing="ij")
    inside = rows**2 + columns**2 < 18**2
    assert (turned - theirs)[:, inside].abs().max() <= 1


@pytest.mark.parametrize(("severity", "share"), [(1, 0.025), (2, 0.05), (3, 0.1)])
def test_blur_is_that_of_torchvision_inside(severity: int, share: float, photo: Tensor) -> None:
    sigma = share * 40
    reach = round(2 * sigma)
    theirs = tv.gaussian_blur(photo.float(), [2 * reach + 1] * 2, [sigma] * 2)
    inside = slice(reach, 40 - reach)  # the edges are padded otherwise
    ours = one(photo, "blurred", severity).float()
    assert (ours - theirs)[:, inside, inside].abs().max() <= 0.51


def test_noise_has_the_deviation_of_its_severity_and_differs_from_picture_to_picture() -> None:
    grey = torch.full((3, 3, 200, 200), 128, dtype=torch.uint8)
    pixels = shifted(ImageSet(grey, torch.zeros(3)), "noisy", 1).pixels[:].float() - 128
    assert float(pixels.std()) == pytest.approx(16, rel=0.02) and abs(float(pixels.mean())) < 0.2
    flat = pixels.flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(3)).abs().max() < 0.02
    assert (torch.corrcoef(pixels[0].flatten(1)) - torch.eye(3)).abs().max() < 0.03


def test_contrast_is_that_of_pil_for_a_grey_picture(photo: Tensor) -> None:
    grey = photo[:1].expand(3, -1, -1).contiguous()
    theirs = tensor(ImageEnhance.Contrast(pil(grey)).enhance(0.2))
    assert (one(grey, "contrast", 3).float() - theirs.float()).abs().max() <= 1


def test_contrast_keeps_the_mean_of_every_channel(photo: Tensor) -> None:
    soft, sharp = one(photo, "contrast", 2).float(), photo.float()
    assert soft.mean((1, 2)) == pytest.approx(sharp.mean((1, 2)), abs=0.3)
    assert soft.std((1, 2)) == pytest.approx(0.3 * sharp.std((1, 2)), rel=0.02)


def test_brightness_raises_the_value_alone(photo: Tensor) -> None:
    picture = photo.clone()
    picture[:, 0, 0] = 0
    ours = one(picture, "brightness", 3).flatten(1).T.tolist()
    for before, after in zip(picture.flatten(1).T.tolist(), ours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in before))
        theirs = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 0.3))
        assert after == pytest.approx([255 * channel for channel in theirs], abs=0.51)


def test_pixelated_pictures_are_made_of_areas(photo: Tensor) -> None:
    coarse = torch.nn.functional.avg_pool2d(photo.float(), 4).round()  # severity 5: a quarter of the side
    theirs = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert (one(photo, "pixelated", 5).float() - theirs).abs().max() <= 1


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (3, 15), (5, 7)])
def test_jpeg_is_that_of_torchvision(severity: int, quality: int, photo: Tensor) -> None:
    assert torch.equal(one(photo, "jpeg", severity), tv.jpeg(photo, quality))
