"""Shards, written by Python's tarfile in the layout of CLIP_benchmark and others."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from search_spaces import Source
from trainables.data import ImageSet, TimmPreprocessing, load_task
from trainables.errors import MissingError, ProblemError
from trainables.fingerprint import fingerprint

MakeSource = Callable[..., Source]
WritePicture = Callable[..., Path]
Write = Callable[..., Path]

SMALL = TimmPreprocessing(16)


def write_tar(file: Path, members: Mapping[str, bytes]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


@pytest.fixture
def write_shard(tmp_path: Path, write_picture: WritePicture) -> Write:
    """Writes a shard of pictures of these labels; the pictures are the same wherever they have one number."""

    def write(file: Path, labels: list[int], start: int = 0, ending: str = "png") -> Path:
        members: dict[str, bytes] = {}
        for number, label in enumerate(labels, start):
            picture = write_picture(tmp_path / f"picture.{ending}", seed=number)
            members |= {
                f"s{number:04d}.{ending}": picture.read_bytes(),
                f"s{number:04d}.cls": f"{label}\n".encode(),
            }
        return write_tar(file, members)

    return write


@pytest.fixture
def pixels(tmp_path: Path, write_picture: WritePicture) -> Callable[..., torch.Tensor]:
    """Pictures of these numbers as a model sees them."""

    def read(numbers: range) -> torch.Tensor:
        files = [write_picture(tmp_path / "one.png", seed=number) for number in numbers]
        opened = []
        for file, number in zip(files, numbers, strict=True):
            write_picture(file, seed=number)
            with Image.open(file) as picture:
                opened.append(SMALL.apply(picture))
        return torch.stack(opened)

    return read


def test_the_layout_of_clip_benchmark(
    tmp_path: Path, make_source: MakeSource, write_shard: Write, pixels: Callable[..., torch.Tensor]
) -> None:
    root = tmp_path / "wds_pets"
    for shard in range(11):  # as text, 10.tar comes before 2.tar
        write_shard(root / "train" / f"{shard}.tar", [0, 1] * 5, start=10 * shard)
    write_shard(root / "test" / "0.tar", [1, 0, 1], start=200)
    (root / "train" / "nshards.txt").write_text("11\n")
    (root / "test" / "nshards.txt").write_text("1")
    (root / "classnames.txt").write_text("great dane\ntabby\n")
    (root / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\na {c}, a pet.\n")
    task = load_task(make_source("webdataset", path=root), SMALL)
    assert task.classes == ("great dane", "tabby")
    assert task.templates == ("a photo of a {}.", "a {}, a pet.")
    assert (len(task.train), len(task.val)) == (100, 10)
    assert task.test.labels.tolist() == [1, 0, 1]
    assert torch.equal(task.test.pixels, pixels(range(200, 203)))
    alone = load_task(make_source("webdataset", path=root / "test"), SMALL, ("test",))
    assert alone.classes == task.classes and torch.equal(alone.test.pixels, task.test.pixels)
    given = make_source("webdataset", path=root, classes=["dog", "cat"], templates="simple")
    assert load_task(given, SMALL, ("test",)).classes == ("dog", "cat")
    assert len(load_task(given, SMALL, ("test",)).templates) == 7


@pytest.mark.parametrize(
    "path",
    ["shards/{split}-{000..001}.tar", "shards", "shards/imagenet-{split}-{000..001}.tar"],
)
def test_shards_are_found_by_a_pattern_or_by_their_names(
    tmp_path: Path, make_source: MakeSource, write_shard: Write, path: str
) -> None:
    begin = "imagenet-" if "imagenet" in path else ""
    for split, start in (("train", 0), ("validation", 20), ("test", 40)):
        for shard in range(2):
            file = tmp_path / "shards" / f"{begin}{split}-{shard:03d}.tar"
            write_shard(file, [0, 1, 2], start=start + 3 * shard)
    task = load_task(make_source("webdataset", path=tmp_path / path), SMALL)
    assert [len(images) for images in (task.train, task.val, task.test)] == [6, 6, 6]
    assert task.classes == ("0", "1", "2")
    assert task.val.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_shards_without_splits_are_cut_by_shares(
    tmp_path: Path, make_source: MakeSource, write_shard: Write
) -> None:
    write_shard(tmp_path / "a" / "0.tar", [0, 1] * 10)
    write_shard(tmp_path / "b" / "train" / "0.tar", [0, 1] * 10)
    source = make_source("webdataset", path=tmp_path / "a")
    assert [len(getattr(load_task(source, SMALL), name)) for name in ("train", "val", "test")] == [12, 4, 4]
    lone = make_source("webdataset", path=tmp_path / "b")
    with pytest.raises(
        ProblemError, match="has only the splits train, and val is needed; add it, or give sp"
    ):
        load_task(lone, SMALL)
    assert len(load_task(lone.model_copy(update={"split": (0.5, 0.25, 0.25)}), SMALL).train) == 10


def test_a_picture_is_read_as_from_a_file(
    tmp_path: Path, make_source: MakeSource, write_picture: WritePicture
) -> None:
    members: dict[str, bytes] = {}
    for number, ending in enumerate(("png", "jpg", "webp", "JPEG")):
        folder = tmp_path / "folder" / str(number)
        folder.mkdir(parents=True)
        with Image.open(write_picture(tmp_path / "plain.png")) as picture:
            exif = picture.getexif()
            exif[0x0112] = 6
            picture.save(folder / f"a.{ending}", exif=exif)
        members[f"deep/er.folder/{number}.{ending}"] = (folder / f"a.{ending}").read_bytes()
        members[f"deep/er.folder/{number}.json"] = json.dumps({"label": number, "x": "y"}).encode()
    write_tar(tmp_path / "shards" / "0.tar", {"__key__": b"", "./.hidden.png": b"", **members})
    ours = load_task(make_source("webdataset", path=tmp_path / "shards"), SMALL, ("test",)).test
    expected = load_task(make_source("folder", path=tmp_path / "folder"), SMALL, ("test",)).test
    assert torch.equal(ours.pixels, expected.pixels)
    assert ours.labels.tolist() == [0, 1, 2, 3]


def refusal(source: Source, kind: type[ProblemError] = ProblemError) -> str:
    with pytest.raises(ProblemError) as told:
        load_task(source, SMALL, ("test",))
    assert type(told.value) is kind and "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("rest", ["picture", "header", "border", "marker", "hole", "unfilled", "doubled"])
def test_a_shard_that_ends_in_the_middle_is_named(
    tmp_path: Path, make_source: MakeSource, write_shard: Write, rest: str
) -> None:
    """Within a picture, within a header, between two members; with a damaged header, or zeros there, or from
    there on, as a download that was to be filled; with another archive behind it."""
    whole = write_shard(tmp_path / "set" / "0.tar", [0, 1, 0, 1])
    with tarfile.open(whole) as tar:
        picture = tar.getmembers()[2]
    content = whole.read_bytes()
    end = {"picture": picture.offset_data + 100, "header": picture.offset + 100, "border": picture.offset}
    if rest == "marker":
        whole.write_bytes(content[: picture.offset] + b"x" * 512 + content[picture.offset_data :])
    elif rest == "hole":
        whole.write_bytes(content[: picture.offset] + bytes(512) + content[picture.offset_data :])
    elif rest == "unfilled":
        whole.write_bytes(content[: picture.offset] + bytes(10**6))
    elif rest == "doubled":
        whole.write_bytes(content + content)
    else:
        whole.write_bytes(content[: end[rest]])
    said = refusal(make_source("webdataset", path=tmp_path / "set"))
    assert said.startswith(f"path: the shard {whole} ends in the middle, or is no uncompressed tar file: ")
    assert said.endswith("; fetch it again")


def test_a_compressed_shard_is_named(tmp_path: Path, make_source: MakeSource, write_shard: Write) -> None:
    file = tmp_path / "0.tar"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(write_shard(tmp_path / "in" / "0.tar", [0]))
    assert "is no uncompressed tar file" in refusal(make_source("webdataset", path=file))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b"", "a.cls": b"one"}, "the sample a in the shard SHARD has no class number; expects a f"),
        ({"a.png": b"", "a.cls": b"-1"}, "the sample a in the shard SHARD has no class number"),
        ({"a.png": b"", "a.json": b"[]"}, "the sample a in the shard SHARD has no class number"),
        (
            {"a.png": b"", "a.json": b'{"label": "cat"}'},
            "the sample a in the shard SHARD has no class number",
        ),
        ({"a.png": b"", "b.cls": b"1"}, "the sample a in the shard SHARD has no class number"),
        (
            {"x/a.cls": b"1", "x/a.txt": b"1"},
            "the sample x/a in the shard SHARD has 0 pictures, and one is e",
        ),
        (
            {"a.png": b"", "a.jpg": b"", "a.cls": b"1"},
            "the sample a in the shard SHARD has 2 pictures, and o",
        ),
        ({"a.png": b"", "a.PNG": b"", "a.cls": b"1"}, "the shard SHARD has a.PNG twice; make it again"),
        (
            {"a.png": b"mud", "a.cls": b"0"},
            "a.png in the shard SHARD cannot be read as a picture: cannot iden",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sample_that_is_none_is_named(
    tmp_path: Path, make_source: MakeSource, members: dict[str, bytes], message: str
) -> None:
    shard = write_tar(tmp_path / "0.tar", members)
    said = refusal(make_source("webdataset", path=tmp_path))
    assert said.startswith(f"path: {message.replace('SHARD', str(shard))}")


def test_shards_that_are_not_there_are_told(
    tmp_path: Path, make_source: MakeSource, write_shard: Write
) -> None:
    def told(path: str, kind: type[ProblemError] = MissingError) -> str:
        return refusal(make_source("webdataset", path=tmp_path / path), kind)

    assert told("gone").startswith(f"path: no shards in {tmp_path / 'gone'}; expects a folder of .tar files")
    write_shard(tmp_path / "set" / "test" / "0.tar", [0, 1])
    (tmp_path / "set" / "test" / "nshards.txt").write_text("3")
    second = tmp_path / "set" / "test" / "1.tar"
    assert told("set").startswith(f"path: no such shard: {second} (2 of 3 are missing); fetch it, or ")
    assert told("set/{split}/{0..1}.tar").startswith(f"path: no such shard: {second} (1 of 2 are missing); ")
    (tmp_path / "set" / "test" / "nshards.txt").write_text("three")
    assert "nshards.txt holds no number of shards" in told("set", ProblemError)
    write_shard(tmp_path / "mixed" / "test-0.tar", [0, 1])
    write_shard(tmp_path / "mixed" / "other.tar", [0, 1])
    assert "other.tar does not tell its split, as others beside it do" in told("mixed", ProblemError)
    write_shard(tmp_path / "two" / "val" / "0.tar", [0, 1])
    write_shard(tmp_path / "two" / "Validation" / "0.tar", [0, 1])
    assert "could both be of val; rename those that are not meant" in told("two", ProblemError)


def test_a_label_beyond_the_class_names_is_told(
    tmp_path: Path, make_source: MakeSource, write_shard: Write
) -> None:
    write_shard(tmp_path / "0.tar", [0, 1, 2])
    (tmp_path / "classnames.txt").write_text("a\nb\n")
    said = refusal(make_source("webdataset", path=tmp_path))
    assert said == f"path: {tmp_path} has the label 2, but classnames.txt names 2 classes, counted from 0"


def test_classes_that_no_shard_has_a_picture_of_are_told(
    tmp_path: Path, make_source: MakeSource, write_shard: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(tmp_path / "0.tar", [0, 2] * 5)
    (tmp_path / "classnames.txt").write_text("ant\nbee\ncat\ndog\n")
    load_task(make_source("webdataset", path=tmp_path), SMALL)
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}: 2 of the 4 classes have no picture to train on: bee, dog\n"
    )


def test_large_sets_are_read_when_asked_for_and_count_by_their_files(
    tmp_path: Path, make_source: MakeSource, write_shard: Write, read_lazily: Callable[..., ImageSet]
) -> None:
    shard = write_shard(tmp_path / "set" / "0.tar", [0, 1] * 5)
    source = make_source("webdataset", path=tmp_path / "set", limit=6)
    lazy = read_lazily(source)
    write_shard(shard, [0, 1] * 5, start=50)
    changed = load_task(source, SMALL, ("test",)).test
    assert fingerprint(changed) != fingerprint(lazy)
