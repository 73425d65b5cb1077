"""Random crops and flips against PIL's and torchvision's."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Generator, Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2.functional import horizontal_flip, resized_crop

from trainables.augment import _boxes, augmented, draw_boxes

SIZE = 32


def generators(*seeds: int) -> list[Generator]:
    return [Generator().manual_seed(seed) for seed in seeds]


@pytest.fixture
def pictures() -> Tensor:
    """(12, 3, 32, 32), uint8, noise."""
    return torch.randint(256, (12, 3, SIZE, SIZE), dtype=torch.uint8, generator=Generator().manual_seed(0))


def seen(pictures: Tensor, crop: float, flip: bool, sources: Sequence[Generator]) -> Tensor:
    """The pictures, the members one after the other, as they are seen in one step."""
    boxes = draw_boxes(len(pictures) // len(sources), crop, flip, sources)
    assert boxes is not None
    return augmented(pictures, boxes.flatten(0, 1))


def edges(boxes: Tensor) -> Tensor:
    """(N, 4): left, top, right, bottom of the maps' parts, in pixels; mirrored ones have left > right."""
    half, centre = boxes.diagonal(dim1=1, dim2=2), boxes[:, :, 2]
    return (torch.cat([centre - half, centre + half], dim=1) + 1) * SIZE / 2


def pil_crop(picture: Tensor, box: Sequence[float]) -> Tensor:
    """Each channel resized from the part by PIL, in floats; enlarging, so without antialias."""
    channels = [
        Image.fromarray(channel.float().numpy()).resize((SIZE, SIZE), Image.Resampling.BILINEAR, tuple(box))
        for channel in picture
    ]
    return torch.from_numpy(np.stack([np.asarray(channel) for channel in channels]))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [0.1, 0.5, 0.9])
def test_crops_are_pils_resized_parts(pictures: Tensor, crop: float, flip: bool) -> None:
    found = seen(pictures, crop, flip, generators(3))
    parts = edges(_boxes(len(pictures), crop, flip, *generators(3)))
    assert found.shape == pictures.shape and found.dtype == torch.float32
    mirrored = 0
    for picture, mine, (left, top, right, bottom) in zip(pictures, found, parts.tolist(), strict=True):
        mirrored += left > right
        box = (max(0.0, min(left, right)), max(0.0, top), min(SIZE, max(left, right)), min(SIZE, bottom))
        expected = pil_crop(picture, box)
        expected = horizontal_flip(expected) if left > right else expected
        torch.testing.assert_close(mine, expected, rtol=0, atol=0.05)
    assert (mirrored > 0) == flip


def test_a_crop_is_torchvisions_inside_its_border() -> None:
    """torchvision cuts at whole pixels, so only a picture without detail can be compared."""
    x, y = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")
    picture = torch.stack([4 * x + 2 * y, 7 * y, 200 - 3 * x]).float()[None]
    found = seen(picture, 0.3, False, generators(1))
    (left, top, right, bottom) = edges(_boxes(1, 0.3, False, *generators(1)))[0].tolist()
    whole = [round(value) for value in (top, left, bottom - top, right - left)]
    expected = resized_crop(picture, *whole, size=[SIZE, SIZE], antialias=False)
    assert (found - expected)[..., 3:-3, 3:-3].abs().max() < 8  # a pixel's worth


def test_a_flip_alone_mirrors_half_of_the_pictures(pictures: Tensor) -> None:
    many = pictures.repeat(20, 1, 1, 1)
    found = seen(many, 1.0, True, generators(0))
    same = (found - many.float()).abs().flatten(1).amax(dim=1) < 1e-2
    mirrored = (found - horizontal_flip(many).float()).abs().flatten(1).amax(dim=1) < 1e-2
    assert (same ^ mirrored).all()
    assert 90 < mirrored.sum() < 150  # of 240


@pytest.mark.parametrize("crop", [0.08, 0.5, 0.9])
def test_parts_are_as_large_and_no_narrower_than_is_asked(crop: float) -> None:
    left, top, right, bottom = edges(_boxes(4000, crop, False, *generators(0))).T / SIZE
    assert min(left.min(), top.min()) > -1e-5 and max(right.max(), bottom.max()) < 1 + 1e-5
    width, height = right - left, bottom - top
    area = width * height
    assert area.min() >= crop - 1e-5 and area.max() <= 1 + 1e-5
    even = torch.linspace(crop, 1, 4000)
    assert (area.sort().values - even).abs().max() < 0.05 * (1 - crop)
    assert (width / height).min() > 0.75 - 1e-3 and (width / height).max() < 4 / 3 + 1e-3


def test_parts_are_distributed_as_torchvisions() -> None:
    """Where torchvision draws no part again because it is too long for the picture."""
    boxes = edges(_boxes(4000, 0.08, False, *generators(0))) / SIZE
    with torch.random.fork_rng():
        torch.manual_seed(0)
        canvas = torch.empty(3, 4000, 4000)
        drawn = [RandomResizedCrop.get_params(canvas, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    theirs = torch.tensor([[x, y, x + w, y + h] for y, x, h, w in drawn]) / 4000

    def described(parts: Tensor) -> Tensor:
        left, top, right, bottom = parts.T
        width, height = right - left, bottom - top
        each = torch.stack([width * height, width / height, left / (1 - width), top / (1 - height)])
        return each[:, width * height < 0.74]

    for mine, reference in zip(described(boxes), described(theirs), strict=True):
        assert ks_2samp(mine.numpy(), reference.numpy()).pvalue > 0.01


def test_the_same_generator_gives_the_same_pictures_and_another_one_others(pictures: Tensor) -> None:
    first, again, other = (seen(pictures, 0.5, True, generators(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_members_pictures_do_not_depend_on_its_pack(pictures: Tensor) -> None:
    packed = seen(pictures, 0.3, True, generators(5, 6, 7))
    for k, seed in enumerate((5, 6, 7)):
        own = slice(4 * k, 4 * k + 4)
        torch.testing.assert_close(packed[own], seen(pictures[own], 0.3, True, generators(seed)))


def test_nothing_to_do_leaves_the_generator_alone() -> None:
    (generator,) = generators(0)
    before = generator.get_state()
    assert draw_boxes(4, 1.0, False, [generator]) is None
    assert torch.equal(generator.get_state(), before)
