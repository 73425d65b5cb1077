"""Pictures of every kind that PIL reads, as eight bits of red, green and blue."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.datasets.folder import pil_loader
from torchvision.transforms.v2 import functional as tv

from trainables.data import TimmPreprocessing
from trainables.data.pictures import FilePictures, Listed, file_pictures, upright, warn_of_odd
from trainables.data.reading import read_pictures
from trainables.errors import ProblemError

GREY = np.linspace(0, 65535, 24 * 20).astype(np.uint16).reshape(20, 24)


def read(file: Path) -> np.ndarray:
    return np.asarray(FilePictures(str(file.parent), (file.name,)).open(0))


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm", "wide.tif"])
def test_sixteen_bits_are_scaled(tmp_path: Path, name: str) -> None:
    values = GREY.astype(np.int32) if name == "wide.tif" else GREY
    Image.fromarray(values).save(tmp_path / name)
    found = read(tmp_path / name)
    assert np.array_equal(found[..., 0], np.rint(GREY / 257)) and np.array_equal(found[..., 0], found[..., 2])
    theirs = tv.to_dtype(torch.from_numpy(GREY), torch.uint8, scale=True).numpy()
    assert np.abs(found[..., 0].astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("largest", [200, 4095, 4096, 0])
def test_values_of_fewer_bits_are_scaled_as_sixteen_and_told_once_for_a_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], largest: int
) -> None:
    values = np.linspace(0, largest, 24 * 20).astype(np.uint16).reshape(20, 24)
    for number in range(3):
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    odd: list[tuple[str, str]] = []
    pictures = FilePictures(str(tmp_path), ("0.png", "1.png", "2.png"))
    images = read_pictures(Listed(pictures, np.arange(3)), TimmPreprocessing(20, crop_pct=1.0), odd=odd)
    warn_of_odd(odd, str(tmp_path))
    assert images.pixels[:].max() == round(largest / 257)
    told = capsys.readouterr().err
    assert told.startswith(
        f"warning: {tmp_path}: 3 of the pictures, such as {tmp_path.name}/0.png (its largest value is "
        f"{largest}), use a sixteenth of their 16 bits or less, and are nearly black"
    ) == (0 < largest < 4096)
    assert told.count("\n") == (0 < largest < 4096)


def test_big_endian_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (24, 20), GREY.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    assert np.array_equal(read(tmp_path / "a.tif")[..., 0], np.rint(GREY / 257))


def test_floats_from_0_to_1_are_scaled(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert read(tmp_path / "a.tiff")[..., 1].flatten().tolist() == list(range(256))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.array([[0, 70000]], dtype=np.int32), "from 0 to 70000"),
        (np.array([[0, 200]], dtype=np.int32), "from 0 to 200"),
        (np.array([[-1, 200]], dtype=np.int32), "from -1 to 200"),
        (np.array([[0, 255]], dtype=np.float32), "from 0 to 255"),
        (np.array([[0, np.nan]], dtype=np.float32), "from nan to nan"),
    ],
)
def test_values_whose_range_is_not_known_are_refused(tmp_path: Path, values: np.ndarray, told: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(
        ProblemError, match=rf"a\.tif cannot be read as a picture: its values are {told}, a ran"
    ):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "file",
    [
        "1.png",
        "L.png",
        "P.png",
        "LA.png",
        "RGBA.png",
        "RGB.png",
        "P.gif",
        "CMYK.jpg",
        "YCbCr.jpg",
        "RGBA.webp",
    ],
)
def test_other_kinds_are_read_as_torchvision_reads_them(tmp_path: Path, file: str) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (16, 12, 4), dtype=np.uint8), "RGBA")
    if file.startswith(("CMYK", "YCbCr")):
        picture = picture.convert("RGB")
    picture.convert(file.split(".")[0]).save(tmp_path / file)
    assert np.array_equal(read(tmp_path / file), np.asarray(pil_loader(str(tmp_path / file))))


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_first_of_several_frames_is_read(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], lossless=True)
    assert read(tmp_path / f"a.{kind}")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_turned_as_pil_turns_them(tmp_path: Path, orientation: int) -> None:
    rng, exif = np.random.default_rng(orientation), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(read(tmp_path / "a.png"), np.asarray(ImageOps.exif_transpose(picture)))


def exif_with(*entries: bytes) -> bytes:
    """An EXIF block of raw entries: tag, type, count, value, each little-endian."""
    return b"Exif\0\0II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + b"".join(entries) + b"\0\0\0\0"


MISTYPED = b"\x1a\x01\x02\0\x03\0\0\x0072\0\0"  # XResolution, as text: `exif_transpose` raises TypeError
NOWHERE = b"\x1a\x01\x05\0\x01\0\0\0\x48\0\0\0"  # XResolution, whose rational lies where nothing is
TURNED = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"  # Orientation 6
SPOKEN = b"\x12\x01\x02\0\x02\0\0\0\x36\0\0\0"  # Orientation, as the text "6"


@pytest.mark.parametrize("entries", [(TURNED, MISTYPED), (TURNED, NOWHERE), (SPOKEN,), (b"\xff" * 12,)])
def test_a_mistyped_tag_refuses_no_picture(tmp_path: Path, entries: tuple[bytes, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.jpg", exif=exif_with(*entries))
    plain = np.asarray(pil_loader(str(tmp_path / "a.jpg")))
    expected = np.rot90(plain, -1) if TURNED in entries else plain
    assert np.array_equal(read(tmp_path / "a.jpg"), expected)


def drawn(alpha: bool) -> Image.Image:
    """A stroke, in the alpha channel over black or in the colours."""
    values = np.zeros((8, 8, 4), dtype=np.uint8)
    values[2:4, :, 3 if alpha else 0] = 255
    if not alpha:
        values[..., 3] = 255
    return Image.fromarray(values, "RGBA")


@pytest.mark.parametrize("whole", [True, False], ids=["in memory", "when asked for"])
def test_ink_in_the_alpha_channel_is_told_once_for_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole: bool
) -> None:
    files = [tmp_path / "dog" / f"{number}.png" for number in range(6)]
    (tmp_path / "dog").mkdir()
    for number, file in enumerate(files):
        drawn(alpha=number > 3).save(file)
    if not whole:
        monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 0)
    odd: list[tuple[str, str]] = []
    listed = Listed(file_pictures(tmp_path, files), np.zeros(6, dtype=np.int64))
    read_pictures(listed, TimmPreprocessing(8), odd=odd)
    for _ in range(2):
        warn_of_odd(odd, str(tmp_path))
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(
        f"warning: {tmp_path}: 2 of the pictures, such as dog/4.png, are drawn in their alpha channel ov"
    )
    assert not np.asarray(upright(files[4])).any()


def test_transparency_around_what_is_drawn_is_no_reason_to_warn(tmp_path: Path) -> None:
    values = np.full((8, 8, 4), 255, dtype=np.uint8)
    values[2:4, :, :3], values[6:, :, 3] = 0, 0
    Image.fromarray(values, "RGBA").save(tmp_path / "a.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 255)).save(tmp_path / "b.png")  # black all over, and opaque
    odd: list[tuple[str, str]] = []
    pictures = FilePictures(str(tmp_path), ("a.png", "b.png"))
    read_pictures(Listed(pictures, np.arange(2)), TimmPreprocessing(8), odd=odd)
    assert odd == []
