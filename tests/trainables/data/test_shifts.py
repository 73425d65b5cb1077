import pytest
import torch

from trainables.data import SHIFTS, ImageSet, load_task, shifted


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_task("digits", 32).val


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_pure_deterministic_and_clear(name: str, images: ImageSet) -> None:
    before = images.pixels.clone()
    once, again = shifted(images, name), shifted(images, name)
    assert torch.equal(images.pixels, before)
    assert torch.equal(once.pixels, again.pixels)
    assert once.pixels.dtype == torch.uint8 and once.pixels.shape == before.shape
    assert torch.equal(once.labels, images.labels)
    assert (once.pixels.float() - before.float()).abs().mean() > 10


def test_no_shift_gives_the_images_themselves(images: ImageSet) -> None:
    assert shifted(images, None) is images


def test_inverting_twice_gives_the_image_back(images: ImageSet) -> None:
    assert torch.equal(shifted(shifted(images, "inverted"), "inverted").pixels, images.pixels)


def test_rotation_turns_counter_clockwise_by_thirty_degrees() -> None:
    pixels = torch.zeros(1, 3, 65, 65, dtype=torch.uint8)
    pixels[:, :, 31:34, 52:55] = 255  # 21 px to the right of the middle
    turned = shifted(ImageSet(pixels, torch.zeros(1).long()), "rotated").pixels[0, 0].float()
    rows, columns = torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")
    middle = [float((turned * place).sum() / turned.sum()) - 32 for place in (columns, -rows + 64)]
    assert middle == pytest.approx([21 * 0.866, 21 * 0.5], abs=0.3)


def test_blur_keeps_the_mean_and_lowers_the_contrast() -> None:
    pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    pixels[:, :, 12:20, 12:20] = 200
    soft = shifted(ImageSet(pixels, torch.zeros(1).long()), "blurred").pixels.float()
    assert float(soft.mean()) == pytest.approx(float(pixels.float().mean()), rel=0.05)
    assert float(soft.std()) < 0.9 * float(pixels.float().std())
