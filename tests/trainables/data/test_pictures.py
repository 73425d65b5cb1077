import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import v2

from trainables.data import ImageSet, TimmPreprocessing
from trainables.data.loader import in_order
from trainables.data.pictures import FilePictures, LazyPixels, Listed, file_pictures
from trainables.data.reading import KeptPixels, read_pictures
from trainables.errors import ProblemError

SMALL = TimmPreprocessing(16, crop_pct=0.8)


@pytest.fixture
def pictures(tmp_path: Path, write_picture: Callable[..., Path]) -> FilePictures:
    files = [write_picture(tmp_path / "deep" / f"{seed}.png", seed, (30, 20 + seed)) for seed in range(7)]
    return file_pictures(tmp_path, files)


def test_rows_are_read_as_torchvision_reads_and_resizes_them(pictures: FilePictures) -> None:
    lazy = LazyPixels(pictures, SMALL)
    transform = v2.Compose([v2.Resize(20, v2.InterpolationMode.BICUBIC), v2.CenterCrop(16), v2.PILToTensor()])
    files = [Path(pictures.folder, name) for name in pictures.names]
    expected = torch.stack([transform(pil_loader(str(file))) for file in files])
    rows = torch.tensor([5, 0, 5, 3])
    assert len(lazy) == 7
    assert torch.equal(lazy[rows], expected[rows])
    assert lazy[torch.zeros(0, dtype=torch.int64)].shape == (0, 3, 16, 16)


def test_a_set_in_memory_and_one_that_is_not_are_the_same(
    pictures: FilePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Listed(pictures, np.arange(7) % 3)
    in_memory = read_pictures(listed, SMALL)
    monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 7 * 3 * 16 * 16 - 1)
    lazy = read_pictures(listed, SMALL)
    assert isinstance(in_memory.pixels, torch.Tensor) and isinstance(lazy.pixels, KeptPixels)
    assert torch.equal(lazy.pixels[torch.arange(7)], in_memory.pixels)
    assert lazy.labels.dtype == torch.int64 and torch.equal(lazy.labels, in_memory.labels)
    for some in (1, 3, 7, 50):
        batches = [torch.cat(list(images.batches(some))) for images in (lazy, in_memory)]
        assert torch.equal(batches[0], batches[1]) and torch.equal(batches[1], in_memory.pixels)
    assert [len(batch) for batch in lazy.batches(3)] == [3, 3, 1]


def test_a_lazy_set_pickles_without_its_pixels(pictures: FilePictures) -> None:
    lazy = LazyPixels(pictures, TimmPreprocessing(224))
    written = pickle.dumps(lazy)
    assert len(written) < 1000
    assert torch.equal(pickle.loads(written)[torch.tensor([2])], lazy[torch.tensor([2])])


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    values = np.zeros((8, 8, 3), dtype=np.uint8)
    values[:2] = 255  # the sun is above
    upright, orientation = Image.fromarray(values), Image.Exif()
    orientation[0x0112] = 6  # the camera was held sideways: turn clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=orientation)
    assert np.array_equal(np.array(FilePictures(str(tmp_path), ("a.png",)).open(0)), values)


@pytest.mark.parametrize("content", [b"", b"no picture", None], ids=["empty", "text", "cut off"])
def test_a_damaged_picture_is_named(pictures: FilePictures, content: bytes | None) -> None:
    file = Path(pictures.folder, pictures.names[4])
    file.write_bytes(file.read_bytes()[:300] if content is None else content)
    lazy = LazyPixels(pictures, SMALL)
    assert lazy[torch.tensor([3, 5])].shape == (2, 3, 16, 16)
    with pytest.raises(ProblemError) as told:
        lazy[torch.arange(7)]
    assert str(told.value).startswith(f"path: {file} cannot be read as a picture: ")
    assert str(told.value).count(str(file)) == 1 and "\n" not in str(told.value)


def test_on_a_device_labels_are_there_and_pictures_come_batch_by_batch(pictures: FilePictures) -> None:
    images = ImageSet(LazyPixels(pictures, SMALL), torch.zeros(7, dtype=torch.int64)).to("meta")
    assert images.labels.device.type == "meta"
    assert images.pixels[torch.tensor([1])].device.type == "cpu"
    assert [(len(batch), batch.device.type) for batch in in_order(images, 4, 0)] == [(4, "meta"), (3, "meta")]
