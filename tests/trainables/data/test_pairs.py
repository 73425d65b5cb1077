import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Source
from trainables.data import TimmPreprocessing, load_pairs, shifted
from trainables.data.pictures import FilePictures, LazyPixels, file_pictures
from trainables.errors import MissingError, ProblemError

MakeSource = Callable[..., Source]
WritePicture = Callable[..., Path]

SMALL = TimmPreprocessing(8)


def write_csv(file: Path, lines: list[tuple[str, ...]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return file


@pytest.fixture
def table(tmp_path: Path, write_picture: WritePicture) -> Path:
    """Twenty pictures; the even ones have two captions, which stand apart."""
    names = [str(write_picture(tmp_path / "deep" / f"{n}.png").relative_to(tmp_path)) for n in range(20)]
    lines = [(name, f'picture {n}, "naïve"') for n, name in enumerate(names)]
    again = [(name, f"picture {n}\nagain") for n, name in enumerate(names) if n % 2 == 0]
    return write_csv(tmp_path / "pairs.csv", [("image", "caption"), *lines, *again])


def number(caption: str) -> int:
    return int(caption.replace(",", " ").split()[1])


def test_every_caption_goes_with_its_picture(table: Path, make_source: MakeSource) -> None:
    splits = load_pairs(make_source("pairs", path=table), SMALL)
    seen = []
    for pairs in splits:
        assert len(pairs.images) == 10 and pairs.images.labels.tolist() == list(range(10))
        assert pairs.owners.dtype == torch.int64 and len(pairs.owners) == len(pairs.captions)
        for caption, owner in zip(pairs.captions, pairs.owners.tolist(), strict=True):
            picture = LazyPixels(_files(table, [number(caption)]), SMALL)[torch.tensor([0])]
            assert torch.equal(pairs.images.pixels[torch.tensor([owner])], picture)
        seen += list(pairs.captions)
    with table.open(encoding="utf-8", newline="") as stream:
        assert sorted(seen) == sorted(line["caption"] for line in csv.DictReader(stream))


def _files(table: Path, numbers: list[int]) -> FilePictures:
    return file_pictures(table.parent, [table.parent / "deep" / f"{n}.png" for n in numbers])


def test_splits_and_limit_are_counted_in_pictures_and_seeded(table: Path, make_source: MakeSource) -> None:
    def captions(**values: Any) -> tuple[set[int], set[int]]:
        val, test = load_pairs(make_source("pairs", path=table, **values), SMALL)
        return {number(c) for c in val.captions}, {number(c) for c in test.captions}

    val, test = captions()
    assert not val & test and val | test == set(range(20))
    assert captions() == (val, test) != captions(seed=1)
    val, test = captions(split=[0.5, 0.1, 0.4])
    assert (len(val), len(test)) == (2, 8)
    few_val, few_test = captions(split=[0.5, 0.1, 0.4], limit=3)
    assert few_val == val and few_test < test and len(few_test) == 3


def test_pictures_are_shifted_and_moved(table: Path, make_source: MakeSource) -> None:
    plain = load_pairs(make_source("pairs", path=table), SMALL).test
    negative = load_pairs(make_source("pairs", path=table, shift="inverted"), SMALL).test
    assert torch.equal(negative.images.pixels[:], shifted(plain.images, "inverted", None).pixels[:])
    moved = plain.to("meta")
    assert moved.owners.device.type == moved.images.labels.device.type == "meta"
    assert moved.captions == plain.captions


BAD = [
    ([("image", "words"), ("a.png", "x")], " has no column caption in its first line; expects image,caption"),
    (
        [("name",), ("a.png",)],
        " has no column image in its first line; expects image,caption there, by comma",
    ),
    ([], " has no column image in its first line; expects image,caption there"),
    (
        [("image", "text", "title"), ("a.png", "x", "y")],
        " has the columns text and title; rename one of them",
    ),
    ([("image", "caption"), ("a\x07.png", "x")], ":2: 'a\\x07.png' has control characters; name the picture"),
    ([("image", "caption")], " names no picture; expects lines of image,caption below that header"),
    ([("image", "caption"), ("a.png", "x"), ("b.png", "y")], ":3: no such picture: {folder}/b.png; paths a"),
    ([("image", "caption"), ("a.png", " ")], ":2: has no caption; add it"),
    ([("image", "caption"), ("a.png",)], ":2: has no caption; add it"),
    ([("image", "caption"), ("", "x")], ":2: has no image; add it"),
]


@pytest.mark.parametrize(("lines", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_a_table_that_cannot_be_used_is_told_with_its_line(
    tmp_path: Path,
    make_source: MakeSource,
    write_picture: WritePicture,
    lines: list[tuple[str, ...]],
    message: str,
) -> None:
    write_picture(tmp_path / "a.png")
    table = write_csv(tmp_path / "pairs.csv", lines)
    with pytest.raises(ProblemError) as told:
        load_pairs(make_source("pairs", path=table), SMALL)
    assert str(told.value).startswith(f"path: {table}{message.format(folder=tmp_path)}")


LISTS = {
    "as written by csv": 'image,caption\na.png,"a dog, running"\nb.png,a "big" cat\n',
    "without quotes, as the lists of Flickr30k": 'image,caption\na.png,a dog, running\nb.png,a "big" cat\n',
    "by tabs, as open_clip reads it": 'filepath\ttitle\na.png\ta dog, running\nb.png\ta "big" cat\n',
    "with spaces and capitals": '\ufeff Image , Caption \n a.png , a dog, running \n\nb.png,a "big" cat',
    "with columns before": 'id,file_name,text\r\n1,a.png,a dog, running\r\n2,b.png,a "big" cat\r\n',
    "with the caption first": 'caption,image\n"a dog, running",a.png\na "big" cat,b.png\n',
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_lists_of_every_usual_form_are_read_whole(
    tmp_path: Path, make_source: MakeSource, write_picture: WritePicture, text: str
) -> None:
    for name in "ab":
        write_picture(tmp_path / f"{name}.png")
    (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
    val, test = load_pairs(make_source("pairs", path=tmp_path / "list.txt"), SMALL)
    assert {*val.captions, *test.captions} == {"a dog, running", 'a "big" cat'}


CUT = [
    ("caption,image\na dog, running,a.png\n", ":2: has more than 2 columns; put the caption into quotes"),
    (
        "image,caption,id\nb.png,x,1\na.png,a dog, running,2\n",
        ":3: has more than 3 columns; put the caption into",
    ),
    ('image,caption\na.png,"a dog", running\n', ":2: has more than 2 columns; put the caption into quotes"),
    (
        'image,caption\na.png,"x\ny"\n\na.png,"a" dog\n',
        ":5: ',' expected after '\"'; put the caption into quotes",
    ),
    ('image,caption\na.png,"a dog\nb.png,a cat\n', ":2: unexpected end of data; put the caption into quotes"),
    (
        'image,caption\na.png,"a dog\nb.png,"a cat"\n',
        ":2: ',' expected after '\"'; put the caption into quotes",
    ),
    (
        "image|caption\na.png|x\n",
        " has no column image in its first line; expects image,caption there, by commas",
    ),
    ("a.png#0\tA dog.\n", " has no column image in its first line; expects image,caption there, by commas"),
]


@pytest.mark.parametrize(("text", "message"), CUT, ids=[text[:32] for text, _ in CUT])
def test_a_caption_that_may_be_cut_is_told_with_its_line(
    tmp_path: Path, make_source: MakeSource, write_picture: WritePicture, text: str, message: str
) -> None:
    for name in "ab":
        write_picture(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ProblemError) as told:
        load_pairs(make_source("pairs", path=tmp_path / "list.csv"), SMALL)
    assert str(told.value).startswith(f"path: {tmp_path / 'list.csv'}{message}")


def test_files_that_cannot_be_used_are_told(
    tmp_path: Path, make_source: MakeSource, write_picture: WritePicture
) -> None:
    table = tmp_path / "pairs.csv"
    source = make_source("pairs", path=table)
    with pytest.raises(MissingError, match=r"path: no such file: .*pairs\.csv"):
        load_pairs(source, SMALL)
    table.write_bytes(b"image,caption\na.png,caf\xe9\n")
    with pytest.raises(ProblemError, match=r"pairs\.csv cannot be read as text in UTF-8: "):
        load_pairs(source, SMALL)
    for name in "ab":
        write_picture(tmp_path / f"{name}.png")
    write_csv(table, [("image", "caption"), ("a.png", "x"), ("b.png", "y")])
    with pytest.raises(ProblemError, match="split: leaves no picture for val; give it a larger share"):
        load_pairs(source.model_copy(update={"split": [0.5, 0, 0.5]}), SMALL)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ProblemError, match=r"path: .*b\.png cannot be read as a picture: "):
        load_pairs(source, SMALL)
