"""Data sets of Hugging Face, written by its own library, against what that reads."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces import Source
from trainables.data import ImageSet, TimmPreprocessing, load_task
from trainables.data.huggingface import open_huggingface
from trainables.errors import MissingError, ProblemError
from trainables.fingerprint import fingerprint

datasets = pytest.importorskip("datasets", reason="needs the extra huggingface")

MakeSource = Callable[..., Source]

SMALL = TimmPreprocessing(16)
NAMES = ("cat", "dog", "emu")


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library keeps lies in a folder of the test's."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    datasets.disable_progress_bars()


def made(count: int = 30, **columns: Any) -> Any:
    """A data set of pictures of noise with their classes in turns, and further columns (type, values)."""
    rng = np.random.default_rng(count)
    pictures = [Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(count)]
    kinds = {"img": datasets.Image(), "fine": datasets.ClassLabel(names=list(NAMES))}
    values = {"img": pictures, "fine": [row % 3 for row in range(count)]}
    kinds |= {name: kind for name, (kind, _) in columns.items()}
    values |= {name: column for name, (_, column) in columns.items()}
    return datasets.Dataset.from_dict(values, features=datasets.Features(kinds))


def pixels_of(table: Any) -> torch.Tensor:
    return torch.stack([SMALL.apply(row["img"]) for row in table])


def test_a_saved_set_keeps_its_splits(tmp_path: Path, make_source: MakeSource) -> None:
    table = made()
    parts = {"train": range(18), "validation": range(18, 24), "test": range(24, 30), "extra": range(3)}
    datasets.DatasetDict({name: table.select(rows) for name, rows in parts.items()}).save_to_disk(tmp_path)
    task = load_task(make_source("huggingface", path=tmp_path), SMALL)
    assert task.classes == NAMES
    for images, name in ((task.train, "train"), (task.val, "validation"), (task.test, "test")):
        assert torch.equal(images.pixels, pixels_of(table.select(parts[name])))
        assert images.labels.tolist() == table.select(parts[name])["fine"][:]


def relabelled(table: Any, labels: list[int]) -> Any:
    return table.remove_columns("fine").add_column("fine", labels).cast(table.features)


def test_a_split_without_labels_counts_as_none(tmp_path: Path, make_source: MakeSource) -> None:
    """As ImageNet's on the hub: its validation split is what is tested on."""
    train, val, test = made(30), made(12), made(6)
    parts = {"train": train, "validation": val, "test": relabelled(test, [-1] * 6)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path)
    task = load_task(make_source("huggingface", path=tmp_path), SMALL)
    assert (len(task.train), len(task.val)) == (27, 3)
    assert torch.equal(task.test.pixels, pixels_of(val))
    datasets.DatasetDict({"train": train, "test": parts["test"]}).save_to_disk(tmp_path / "two")
    source = make_source("huggingface", path=tmp_path / "two", split=[0.8, 0.1, 0.1])
    assert len(load_task(source, SMALL).train) == 24


def saved(folder: Path) -> Path:
    made().save_to_disk(folder)
    return folder


def parquet_file(folder: Path) -> Path:
    folder.mkdir()
    made().to_parquet(folder / "all.parquet")
    return folder / "all.parquet"


def parquet_folder(folder: Path) -> Path:
    return parquet_file(folder).parent


@pytest.mark.parametrize("write", [saved, parquet_file, parquet_folder])
def test_a_set_without_splits_is_cut_by_shares(
    tmp_path: Path, make_source: MakeSource, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / "set")
    task = load_task(make_source("huggingface", path=path), SMALL)
    assert [torch.bincount(images.labels).tolist() for images in (task.train, task.val, task.test)] == [
        [6, 6, 6],
        [2, 2, 2],
        [2, 2, 2],
    ]
    whole = load_task(make_source("huggingface", path=path), SMALL, ("test",)).test
    assert torch.equal(whole.pixels, pixels_of(made()))


def test_an_image_folder_with_splits(
    tmp_path: Path, make_source: MakeSource, write_classes: Callable[..., Path]
) -> None:
    for name, count in (("train", 10), ("test", 3)):
        write_classes(tmp_path / name, {"cat": count, "dog": count})
    task = load_task(make_source("huggingface", path=tmp_path), SMALL)
    plain = load_task(make_source("folder", path=tmp_path), SMALL)
    assert (task.classes, len(task.train), len(task.val)) == (("cat", "dog"), 18, 2)
    assert torch.equal(task.test.pixels, plain.test.pixels)
    assert torch.equal(task.test.labels, plain.test.labels)


def test_a_picture_is_read_as_from_a_file(
    tmp_path: Path, make_source: MakeSource, write_picture: Callable[..., Path]
) -> None:
    """Turned by its EXIF orientation, from bytes within the table and from a file that it names."""
    with Image.open(write_picture(tmp_path / "a.png")) as picture:
        exif = picture.getexif()
        exif[0x0112] = 6
        for folder in ("one", "two"):
            (tmp_path / "folder" / folder).mkdir(parents=True)
            picture.save(tmp_path / "folder" / folder / "turned.png", exif=exif)
    files = [str(file) for file in sorted((tmp_path / "folder").rglob("*.png"))]
    features = datasets.Features({"img": datasets.Image(), "y": datasets.ClassLabel(names=["one", "two"])})
    table = datasets.Dataset.from_dict({"img": files, "y": [0, 1]}, features=features)
    table.save_to_disk(tmp_path / "named")
    table.to_parquet(tmp_path / "embedded.parquet")
    expected = load_task(make_source("folder", path=tmp_path / "folder"), SMALL, ("test",)).test
    for path in ("named", "embedded.parquet"):
        task = load_task(make_source("huggingface", path=tmp_path / path), SMALL, ("test",))
        assert torch.equal(task.test.pixels, expected.pixels)


def test_columns_are_named_where_they_are_not_plain(tmp_path: Path, make_source: MakeSource) -> None:
    coarse = (datasets.ClassLabel(names=["a", "b"]), [row % 2 for row in range(30)])
    words = (datasets.Value("string"), [("x", "y", "a")[row % 3] for row in range(30)])
    numbers = (datasets.Value("int32"), [(2, 10, 1)[row % 3] for row in range(30)])
    shares = (datasets.Value("float32"), [0.5] * 30)
    made(coarse=coarse, word=words, number=numbers, share=shares).save_to_disk(tmp_path)

    def opened(**settings: str) -> Any:
        return open_huggingface(make_source("huggingface", path=tmp_path, **settings))

    with pytest.raises(ProblemError) as told:
        opened()
    columns = "img (Image), fine (ClassLabel), coarse (ClassLabel), word (string), number (int32)"
    assert str(told.value).startswith(
        f"label_column: 2 columns have the type ClassLabel, so name one of {columns}"
    )
    assert opened(label_column="coarse").classes == ("a", "b")
    assert opened(label_column="word").classes == ("a", "x", "y")
    assert opened(label_column="word").labels[""][:3].tolist() == [1, 2, 0]
    assert opened(label_column="number").classes == ("1", "2", "10")
    assert opened(label_column="number").labels[""][:3].tolist() == [1, 2, 0]
    for settings, message in (
        ({"label_column": "lable"}, "label_column: there is no column lable; there are img (Image), fine "),
        ({"label_column": "share"}, f"label_column: share of {tmp_path} holds neither names nor whole"),
        ({"label_column": "fine", "image_column": "number"}, f"image_column: number of {tmp_path} holds no"),
    ):
        with pytest.raises(ProblemError) as told:
            opened(**settings)
        assert str(told.value).startswith(message)


def test_what_cannot_be_used_is_told(tmp_path: Path, make_source: MakeSource) -> None:
    table = made(6)

    def refusal(name: str, kind: type[ProblemError] = ProblemError, **settings: Any) -> str:
        with pytest.raises(ProblemError) as told:
            load_task(make_source("huggingface", path=tmp_path / name, **settings), SMALL)
        assert type(told.value) is kind and "\n" not in str(told.value)
        return str(told.value)

    assert refusal("gone", MissingError) == f"path: no such folder or file: {tmp_path / 'gone'}"
    (tmp_path / "mud.parquet").write_bytes(b"mud")
    assert refusal("mud.parquet").startswith(f"path: {tmp_path / 'mud.parquet'} cannot be opened as a data")
    partly = relabelled(table, [-1, 0, 1, 2, 0, 1])
    datasets.DatasetDict({"train": table, "test": partly}).save_to_disk(tmp_path / "partly")
    assert refusal("partly") == (
        f"label_column: fine of {tmp_path / 'partly'} has negative numbers, so labels are missing"
    )
    relabelled(table, [-1] * 6).save_to_disk(tmp_path / "hidden")
    assert refusal("hidden").endswith("holds no labels, but -1 throughout")
    bare = table.remove_columns("fine")
    datasets.DatasetDict({"train": table, "test": bare}).save_to_disk(tmp_path / "bare")
    assert refusal("bare").endswith("have other classes under fine")
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(tmp_path / "two")
    assert refusal("two", split=[0.5, 0.25, 0.25]).endswith("comes with its own splits; remove split")
    datasets.DatasetDict({"test": table}).save_to_disk(tmp_path / "lone")
    assert refusal("lone") == (
        f"path: {tmp_path / 'lone'} has only the splits test, and train is needed; add it, or give split, "
        "the shares by which a set with one split is cut"
    )
    cut = load_task(make_source("huggingface", path=tmp_path / "lone", split=[0, 0.5, 0.5]), SMALL, ("val",))
    assert len(cut.val) == 3
    datasets.DatasetDict({"dev": table, "validation": table}).save_to_disk(tmp_path / "twice")
    assert refusal("twice").endswith("has dev and validation, which both mean val")
    datasets.DatasetDict({"a": table, "b": table}).save_to_disk(tmp_path / "odd")
    assert refusal("odd").endswith("has none of the splits train, validation and test, but a, b")


def test_pictures_are_no_labels(tmp_path: Path, make_source: MakeSource) -> None:
    made(6).save_to_disk(str(tmp_path / "set"))
    source = make_source("huggingface", path=tmp_path / "set", label_column="img")
    with pytest.raises(ProblemError, match=r"^label_column: img of .* holds no labels; name ano"):
        load_task(source, SMALL)


def test_a_damaged_picture_is_told(tmp_path: Path, make_source: MakeSource) -> None:
    features = datasets.Features({"img": datasets.Image(), "y": datasets.ClassLabel(names=["a", "b"])})
    encoded = [{"bytes": b"mud", "path": None}] * 4
    datasets.Dataset.from_dict({"img": encoded, "y": [0, 1, 0, 1]}, features=features).save_to_disk(tmp_path)
    with pytest.raises(ProblemError, match=r"^path: picture 0 of .* cannot be read: cannot identify image"):
        load_task(make_source("huggingface", path=tmp_path), SMALL, ("test",))


def test_the_hub_is_not_asked_without_download(make_source: MakeSource) -> None:
    with pytest.raises(MissingError) as told:
        load_task(make_source("huggingface", dataset="no-such-org/no-such-set"), SMALL)
    assert str(told.value) == (
        "dataset: no-such-org/no-such-set has not been fetched to this machine; download: true fetches it"
    )


def test_what_has_been_fetched_is_used_without_a_network(tmp_path: Path, make_source: MakeSource) -> None:
    """The cache is laid out as the library leaves it for a set of the hub."""
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        made(20).to_parquet(tmp_path / "set" / f"{split}.parquet")
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    prepared = datasets.load_dataset(str(tmp_path / "set"))["train"].cache_files[0]["filename"]
    shutil.move(Path(prepared).parent, cache / "some___set" / "default" / "0.0.0" / "abc")
    for file in (cache / "some___set").rglob("*.arrow"):
        file.rename(file.with_name(file.name.replace("parquet", "set")))
    task = load_task(make_source("huggingface", dataset="some/set"), SMALL)
    assert (task.classes, len(task.train), len(task.val)) == (NAMES, 18, 2)
    assert torch.equal(task.test.pixels, pixels_of(made(20)))


def test_the_library_is_an_extra(make_source: MakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"^source: huggingface needs the library datasets; pip install "):
        open_huggingface(make_source("huggingface", dataset="another/set"))


def test_large_sets_are_read_when_asked_for_and_pickle_without_pictures(
    tmp_path: Path, make_source: MakeSource, read_lazily: Callable[..., ImageSet]
) -> None:
    made().save_to_disk(tmp_path)
    source = make_source("huggingface", path=tmp_path, limit=9)
    lazy = read_lazily(source)
    other = load_task(source.model_copy(update={"seed": 1}), SMALL, ("test",)).test
    assert fingerprint(other) != fingerprint(lazy)
