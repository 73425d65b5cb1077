from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from search_spaces import Source
from trainables.data import ImageSet, TimmPreprocessing, load_task
from trainables.data.reading import KeptPixels
from trainables.errors import MissingError, ProblemError

MakeSource = Callable[..., Source]
WriteClasses = Callable[[Path, dict[str, int]], Path]

SMALL = TimmPreprocessing(28)


def write_idx(file: Path, values: np.ndarray) -> None:
    """Write bytes in the format of MNIST's files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.array(values.shape, dtype=">i4").tobytes()
    file.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures to learn from and 20 to test on."""
    root = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 20)):
        raw = root / "MNIST" / "raw"
        write_idx(raw / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)))
        write_idx(raw / f"{name}-labels-idx1-ubyte", np.arange(count) % 3)
    return root


def grey(images: ImageSet) -> torch.Tensor:
    pixels = torch.cat(list(images.batches(64)))
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    return pixels[:, 0]


def in_order(pixels: torch.Tensor) -> list[tuple[int, ...]]:
    return sorted(tuple(picture.flatten().tolist()) for picture in pixels)


def test_mnist_has_a_tenth_of_its_train_pictures_to_validate_on(mnist: Path, make_source: MakeSource) -> None:
    task = load_task(make_source("torchvision", dataset="MNIST", path=mnist), SMALL)
    theirs = {train: datasets.MNIST(str(mnist), train=train) for train in (True, False)}
    assert task.classes == tuple("0123456789")  # as CLIP_benchmark has it; torchvision says "0 - zero"
    assert torch.equal(grey(task.test), theirs[False].data)
    assert torch.equal(task.test.labels, theirs[False].targets)
    assert torch.bincount(task.val.labels).tolist() == [2, 2, 2]
    assert in_order(torch.cat([grey(task.train), grey(task.val)])) == in_order(theirs[True].data)


def test_a_large_set_is_enlarged_when_it_is_asked_for(
    mnist: Path, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source("torchvision", dataset="MNIST", path=mnist, limit=9, shift="contrast")
    in_memory = load_task(source, TimmPreprocessing(56)).train
    monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 1000)
    lazy = load_task(source, TimmPreprocessing(56)).train
    assert isinstance(in_memory.pixels, torch.Tensor) and not isinstance(lazy.pixels, torch.Tensor)
    assert torch.equal(torch.cat(list(lazy.batches(4))), in_memory.pixels)
    plain = load_task(source.model_copy(update={"shift": None}), SMALL, ("test",)).test
    assert isinstance(plain.pixels, KeptPixels) and len(plain) == 9


def test_a_set_without_splits_is_split_by_shares(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    write_classes(tmp_path / "eurosat" / "2750", {"Forest": 10, "River": 20})
    source = make_source("torchvision", dataset="EuroSAT", path=tmp_path)
    task = load_task(source, SMALL)
    assert task.classes == ("Forest", "River")
    counts = [torch.bincount(images.labels).tolist() for images in (task.train, task.val, task.test)]
    assert counts == [[6, 12], [2, 4], [2, 4]]
    shares = load_task(source.model_copy(update={"split": [0, 0.5, 0.5]}), SMALL, ("val", "test"))
    assert (len(shares.val), len(shares.test)) == (15, 15)
    assert len(load_task(source, SMALL, ("test",)).test) == 30


def test_a_set_with_a_validation_split_keeps_it(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    folder = tmp_path / "dtd" / "dtd"
    write_classes(folder / "images", {"banded": 6, "dotted": 6})
    (folder / "labels").mkdir()
    for place, name in enumerate(("train", "val", "test")):
        lines = [f"{kind}/{place * 2 + n:03d}.png" for kind in ("banded", "dotted") for n in range(2)]
        (folder / "labels" / f"{name}1.txt").write_text("\n".join(lines) + "\n")
    task = load_task(make_source("torchvision", dataset="DTD", path=tmp_path), SMALL)
    for name in ("train", "val", "test"):
        theirs = datasets.DTD(str(tmp_path), split=name)
        ours = getattr(task, name)
        expected = torch.stack([SMALL.apply(picture) for picture, _ in theirs])
        assert torch.equal(ours.pixels, expected)
        assert ours.labels.tolist() == [label for _, label in theirs]


def test_a_set_that_calls_its_splits_otherwise(
    tmp_path: Path, make_source: MakeSource, write_picture: Callable[..., Path]
) -> None:
    folder = tmp_path / "oxford-iiit-pet"
    for name, count in (("trainval", 20), ("test", 4)):
        lines = []
        for number in range(count):
            pet = ("Abyssinian", "great_pyrenees")[number % 2]
            write_picture(folder / "images" / f"{pet}_{name}{number}.jpg")
            lines.append(f"{pet}_{name}{number} {number % 2 + 1} {number % 2 + 1} 1\n")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{name}.txt").write_text("".join(lines))
    task = load_task(make_source("torchvision", dataset="OxfordIIITPet", path=tmp_path), SMALL)
    assert (len(task.train), len(task.val), len(task.test)) == (18, 2, 4)
    assert task.classes == tuple(datasets.OxfordIIITPet(str(tmp_path)).classes)


def test_classes_without_names_are_named_as_in_clip_benchmark(
    tmp_path: Path, make_source: MakeSource, write_picture: Callable[..., Path]
) -> None:
    for label in range(3):
        for number in range(10):
            write_picture(tmp_path / "gtsrb" / "GTSRB" / "Training" / f"{label:05d}" / f"{number}.ppm")
    tests = tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    write_picture(tests / "0.ppm")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n0.ppm;2\n")
    task = load_task(make_source("torchvision", dataset="GTSRB", path=tmp_path), SMALL)
    assert task.classes == tuple(f"red and white circle {limit} kph speed limit" for limit in (20, 30, 50))
    assert (len(task.train), task.test.labels.tolist()) == (27, [2])
    assert task.templates[0] == 'a zoomed in photo of a "{}" traffic sign.'


def refusal(source: Source, kind: type[ProblemError] = ProblemError) -> str:
    with pytest.raises(ProblemError) as told:
        load_task(source, SMALL)
    assert type(told.value) is kind and "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("name", ["MNIST", "CIFAR100", "STL10", "EuroSAT", "DTD", "Food101", "FGVCAircraft"])
def test_missing_files_are_told_with_their_folder_and_how_to_fetch_them(
    tmp_path: Path, make_source: MakeSource, name: str
) -> None:
    told = refusal(make_source("torchvision", dataset=name, path=tmp_path), MissingError)
    assert told.startswith(f"path: {name} cannot be opened in {tmp_path}: Dataset not found")
    assert told.endswith("; download: true fetches its files")


def test_a_set_that_cannot_be_fetched_says_so(tmp_path: Path, make_source: MakeSource) -> None:
    told = refusal(make_source("torchvision", dataset="FER2013", path=tmp_path), MissingError)
    assert told.endswith("; torchvision cannot fetch its files, so put them there")


@pytest.mark.parametrize("name", ["EuroSAT", "CIFAR10", "MNIST"])
def test_without_a_network_a_download_ends_in_one_message(
    tmp_path: Path, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    told = refusal(make_source("torchvision", dataset=name, path=tmp_path, download=True), MissingError)
    assert told.startswith(f"path: {name} cannot be opened in {tmp_path}: ")
    assert told.endswith("; if the network cannot be reached, put its files there")


def test_names_that_cannot_be_used_are_told_with_the_nearest(tmp_path: Path, make_source: MakeSource) -> None:
    def told(name: str) -> str:
        return refusal(make_source("torchvision", dataset=name, path=tmp_path))

    assert told("cifar10").endswith("no data set 'cifar10' that can be used here; did you mean 'CIFAR10'?")
    assert told("Flower102").endswith("did you mean 'Flowers102'?")
    assert "known: CIFAR10, CIFAR100, " in told("zzz")
    assert told("ImageFolder").startswith("dataset: torchvision has no data set 'ImageFolder' that can be us")


def test_a_set_that_is_no_classification_is_refused(tmp_path: Path, make_source: MakeSource) -> None:
    (tmp_path / "MovingMNIST").mkdir()
    np.save(tmp_path / "MovingMNIST" / "mnist_test_seq.npy", np.zeros((20, 4, 8, 8), dtype=np.uint8))
    told = refusal(make_source("torchvision", dataset="MovingMNIST", path=tmp_path))
    assert told == "dataset: MovingMNIST is no set of pictures with one class each; use another"


def test_shares_for_a_set_that_has_splits_are_refused(mnist: Path, make_source: MakeSource) -> None:
    told = refusal(make_source("torchvision", dataset="MNIST", path=mnist, split=[0.5, 0.2, 0.3]))
    assert told == "split: MNIST comes with its own splits; remove split"


def test_a_damaged_picture_is_told(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    folder = write_classes(tmp_path / "eurosat" / "2750", {"Forest": 3, "River": 3})
    (folder / "River" / "001.png").write_bytes(b"mud")
    source = make_source("torchvision", dataset="EuroSAT", path=tmp_path)
    with pytest.raises(
        ProblemError, match=r"path: picture 4 of EuroSAT in .* cannot be read: .*River/001\.png"
    ):
        load_task(source, SMALL, ("test",))


def test_files_of_another_format_are_told(tmp_path: Path, make_source: MakeSource) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        Image.new("L", (4, 4)).save(raw / f"{name}-ubyte", format="PNG")
    told = refusal(make_source("torchvision", dataset="MNIST", path=tmp_path))
    assert told.startswith(f"path: MNIST cannot be opened in {tmp_path}: ")
