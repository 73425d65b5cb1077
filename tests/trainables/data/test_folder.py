from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from search_spaces import Source
from trainables.data import ImageSet, Task, TimmPreprocessing, load_task
from trainables.errors import MissingError, ProblemError

MakeSource = Callable[..., Source]
WriteClasses = Callable[[Path, dict[str, int]], Path]

SMALL = TimmPreprocessing(8)
COUNTS = {"dog": 10, "cat": 20, "eel": 5}


def image_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """Pixels and labels as torchvision reads them."""
    transform = v2.Compose([v2.Resize(8, v2.InterpolationMode.BICUBIC), v2.CenterCrop(8), v2.PILToTensor()])
    items = list(ImageFolder(str(folder), transform))
    return torch.stack([pixels for pixels, _ in items]), torch.tensor([label for _, label in items])


def keys(*splits: ImageSet) -> list[bytes]:
    """Every picture's pixels."""
    return [
        bytes(row.flatten().tolist()) for images in splits for batch in images.batches(8) for row in batch
    ]


def same(images: ImageSet, folder: Path) -> bool:
    pixels, labels = image_folder(folder)
    assert images.labels.dtype == torch.int64
    return torch.equal(torch.cat(list(images.batches(64))), pixels) and torch.equal(images.labels, labels)


def test_one_folder_of_classes_is_split_by_shares(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    task = load_task(make_source("folder", path=write_classes(tmp_path, COUNTS)), SMALL)
    assert task.classes == ("cat", "dog", "eel") and task.templates == ("a photo of a {}.",)
    assert [torch.bincount(s.labels).tolist() for s in (task.train, task.val, task.test)] == [
        [12, 6, 3],
        [4, 2, 1],
        [4, 2, 1],
    ]
    pixels, labels = image_folder(tmp_path)
    everything = dict(zip(keys(ImageSet(pixels, labels)), labels.tolist(), strict=True))
    ours = keys(task.train, task.val, task.test)
    assert sorted(ours) == sorted(everything)
    theirs = [everything[key] for key in ours]
    assert theirs == torch.cat([task.train.labels, task.val.labels, task.test.labels]).tolist()


def test_the_seed_and_the_shares_are_those_of_the_source(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    write_classes(tmp_path, COUNTS)

    def load(**values: Any) -> Task:
        return load_task(make_source("folder", path=tmp_path, **values), SMALL, ("val", "test"))

    first, again = load(split=[0, 0.4, 0.6]), load(split=[0, 0.4, 0.6])
    assert (len(first.train), len(first.val), len(first.test)) == (0, 14, 21)
    assert first.train.pixels[:0].shape == (0, 3, 8, 8)
    assert keys(first.test) == keys(again.test) != keys(load(split=[0, 0.4, 0.6], seed=1).test)


def test_a_set_that_is_only_tested_on_is_all_test_unless_it_is_shifted(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    write_classes(tmp_path, COUNTS)
    assert same(load_task(make_source("folder", path=tmp_path), SMALL, ("test",)).test, tmp_path)
    task = load_task(make_source("folder", path=tmp_path), SMALL)
    negative = load_task(make_source("folder", path=tmp_path, shift="inverted"), SMALL, ("test",)).test
    assert torch.equal(negative.pixels[:], 255 - task.test.pixels[:])


@pytest.mark.parametrize("marked", ["", "{split}"])
@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val", "VALIDATION"])
def test_split_folders_are_the_splits(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, marked: str, val: str
) -> None:
    for name in ("train", val, "test"):
        write_classes(tmp_path / name / ("" if not marked else "sketch"), COUNTS)
    path = f"{tmp_path}/{{split}}/sketch" if marked else str(tmp_path)
    task = load_task(make_source("folder", path=path), SMALL)
    for images, name in ((task.train, "train"), (task.val, val), (task.test, "test")):
        assert same(images, tmp_path / name / ("sketch" if marked else ""))


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAIN", "TEST"), ("training", "testing"), ("training_set", "test_set")],
)
@pytest.mark.parametrize("marked", [False, True])
def test_split_folders_are_known_however_they_are_written(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, train: str, test: str, marked: bool
) -> None:
    write_classes(tmp_path / train, {"dog": 30, "cat": 20})
    write_classes(tmp_path / test, {"dog": 3, "cat": 2})
    path = tmp_path / f"{{split}}{'_set' if train.endswith('_set') else ''}" if marked else tmp_path
    task = load_task(make_source("folder", path=path), SMALL)
    assert task.classes == ("cat", "dog") and (len(task.train), len(task.val)) == (45, 5)
    assert same(task.test, tmp_path / test)


@pytest.mark.parametrize("test_folder", ["val", "test"])
def test_validation_is_a_tenth_of_train_where_a_folder_is_missing(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, test_folder: str
) -> None:
    write_classes(tmp_path / "train", {"dog": 30, "cat": 20})
    write_classes(tmp_path / test_folder, {"dog": 3, "cat": 2})
    task = load_task(make_source("folder", path=tmp_path), SMALL)
    assert same(task.test, tmp_path / test_folder)
    pixels, labels = image_folder(tmp_path / "train")
    assert sorted(keys(task.train, task.val)) == sorted(keys(ImageSet(pixels, labels)))
    assert torch.bincount(task.val.labels).tolist() == [2, 3]


def test_classes_may_be_called_like_splits(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    write_classes(tmp_path, {"train": 5, "car": 5})
    assert load_task(make_source("folder", path=tmp_path), SMALL).classes == ("car", "train")


def test_the_environment_and_the_home_are_expanded(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path / "pets", COUNTS)
    monkeypatch.setenv("SWEEPER_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("${SWEEPER_DATA}/pets", "~/pets", "pets"):
        assert len(load_task(make_source("folder", path=path), SMALL, ("test",)).test) == 35
    monkeypatch.delenv("SWEEPER_DATA")
    with pytest.raises(MissingError) as told:
        load_task(make_source("folder", path="${SWEEPER_DATA}/pets"), SMALL)
    expected = "path: the environment has no SWEEPER_DATA; set it, or give the whole path with --set"
    assert str(told.value) == expected


def test_a_limit_holds_for_every_split(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    source = make_source("folder", path=write_classes(tmp_path, COUNTS), limit=6)
    task = load_task(source, SMALL)
    assert [torch.bincount(s.labels).tolist() for s in (task.train, task.val)] == [[2, 2, 2], [3, 2, 1]]
    whole = load_task(source.model_copy(update={"limit": None}), SMALL)
    assert set(keys(task.train)) < set(keys(whole.train))


def test_numbers_are_classes_in_the_order_of_numbers(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    """ImageNetV2's folders are 0 to 999: the label is the number."""
    write_classes(tmp_path, {str(number): 1 for number in range(12)})
    task = load_task(make_source("folder", path=tmp_path, templates="imagenet"), SMALL, ("test",))
    assert task.classes == tuple(str(number) for number in range(12))
    for number, pixels in zip(task.test.labels.tolist(), task.test.pixels, strict=True):
        expected = SMALL.apply(Image.open(tmp_path / str(number) / "000.png"))
        assert torch.equal(pixels, torch.as_tensor(expected))


def test_hidden_pictures_are_passed_over_at_every_depth(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, write_picture: Callable[..., Path]
) -> None:
    write_classes(tmp_path / "train", {"dog": 20, "cat": 20})
    write_classes(tmp_path / "test", {"dog": 3, "cat": 2})
    source = make_source("folder", path=tmp_path)
    plain = load_task(source, SMALL)
    for place in (
        "train/dog/.ipynb_checkpoints",
        "train/__MACOSX/dog",
        "test/.cat",
        ".trash/owl",
        "@eaDir/dog",
    ):
        write_picture(tmp_path / place / "000.png")
    (tmp_path / "train" / "again").symlink_to("..")
    (tmp_path / "train" / "dog" / "notes.txt").write_text("good dog")
    (tmp_path / "readme.md").touch()
    task = load_task(source, SMALL)
    assert task.classes == ("cat", "dog")
    assert keys(task.train, task.val, task.test) == keys(plain.train, plain.val, plain.test)


def refusal(source: Source, kind: type[ProblemError] = ProblemError) -> str:
    with pytest.raises(ProblemError) as told:
        load_task(source, SMALL)
    assert type(told.value) is kind and "\n" not in str(told.value)
    return str(told.value)


def test_folders_that_are_no_task_are_refused(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    def told(name: str, kind: type[ProblemError] = ProblemError) -> str:
        return refusal(make_source("folder", path=tmp_path / name), kind).replace(f"{tmp_path}/", "")

    assert told("nowhere", MissingError) == "path: no such folder: nowhere"
    assert told("{split}/nowhere", MissingError) == "path: no such folder: train/nowhere"
    for name in ("Trainset", "Testset"):
        write_classes(tmp_path / "other" / name, COUNTS)
    assert told("other/{split}", MissingError) == (
        "path: no such folder: other/train; the folders in other are Testset, Trainset"
    )
    (tmp_path / "bare").mkdir()
    assert told("bare").startswith("path: bare has no class folders; expects a folder a class, or train, ")
    write_classes(tmp_path / "one", {"dog": 3})
    assert told("one") == "path: one has one class folder only (dog); a task has two or more"
    write_classes(tmp_path / "hole", {"dog": 3, "cat": 0})
    assert told("hole").startswith("path: hole/cat holds no picture (.jpg, .jpeg, .png, ")
    assert told("hole").endswith(
        "; put the class's pictures there, or give a path to a folder in which every folder is a class"
    )
    write_classes(tmp_path / "empty", {"dog": 0, "cat": 0})
    assert told("empty").startswith("path: empty holds no picture at all (.jpg")
    write_classes(tmp_path / "differ" / "train", {"dog": 1, "cat": 1})
    write_classes(tmp_path / "differ" / "test", {"dog": 1, "bat": 1})
    assert told("differ") == "path: differ/test has other class folders than differ/train: bat, cat"
    write_classes(tmp_path / "half" / "train", {"dog": 1, "cat": 1})
    assert told("half").startswith("path: half has only the splits train, and val is needed; add it, or gi")


BESIDE = (
    "path: . has folders for splits (train, test) beside class folders (cat, dog); give {split} to use the"
)
LIKE_SPLITS = (
    "path: . has folders named like splits (Test, Train) without class folders in them; expects a folder a"
)
SHARED = (
    "path: all folders in . ({}) have the same folders in them ({}); give the path of one folder of class fol"
)
LOW = "path: {} has no class folders; its pictures are of one class; did you mean {}?"
UNCLEAR: list[tuple[list[str], str, str]] = [
    (["train/cat", "train/dog", "test/cat", "test/dog", "cat", "dog"], ".", BESIDE),
    (
        ["train/cat", "train/dog", "TRAIN/cat", "TRAIN/dog"],
        ".",
        "path: TRAIN and train could both be train; rena",
    ),
    (
        ["train/cat", "val/cat", "validation/cat"],
        ".",
        "path: val and validation could both be val; rename the one",
    ),
    (
        ["train/cat", "val/cat", "dev/cat"],
        "{split}",
        "path: val and dev could both be val; rename the one that",
    ),
    (["Train", "Test"], ".", LIKE_SPLITS),
    (["dog/train", "dog/test", "cat/train", "cat/test"], ".", SHARED.format("cat, dog", "test, train")),
    (["photo/cat", "photo/dog", "sketch/dog", "sketch/cat"], ".", SHARED.format("photo, sketch", "cat, dog")),
    (
        ["pets/cat", "pets/dog"],
        ".",
        "path: . has one class folder only (pets); did you mean pets?",
    ),
    (
        ["a/b/cat", "a/b/dog"],
        ".",
        "path: . has one class folder only (a); did you mean a/b?",
    ),
    (
        ["cat", "dog"],
        "dog",
        "path: dog has no class folders; its pictures are of one class; did you mean .?",
    ),
    (["textures/cat", "textures/dog"], "textures/cat", LOW.format("textures/cat", "textures")),
    (
        ["pets/train/cat", "pets/train/dog", "pets/val/cat"],
        "pets/train/cat",
        LOW.format("pets/train/cat", "pets"),
    ),
    (["1", "01", "2"], ".", "path: the class folders 01 and 1 are one number; rename one of them"),
]


@pytest.mark.parametrize(
    ("folders", "path", "message"), UNCLEAR, ids=[message[6:40] for *_, message in UNCLEAR]
)
def test_a_folder_whose_meaning_is_not_clear_is_refused(
    tmp_path: Path,
    make_source: MakeSource,
    write_classes: WriteClasses,
    folders: list[str],
    path: str,
    message: str,
) -> None:
    write_classes(tmp_path, dict.fromkeys(folders, 2))
    told = refusal(make_source("folder", path=f"{tmp_path}/{path}".removesuffix("/.")))
    assert told.replace(f"{tmp_path}/", "").replace(str(tmp_path), ".").startswith(message)


@pytest.mark.parametrize(
    ("classes", "meant"),
    [
        (["textures/cat", "textures/dog"], "textures"),
        (["data/pets/images/cat", "data/pets/images/dog"], "data/pets/images"),
        (["images/train/cat", "images/train/dog", "images/val/cat", "images/val/dog"], "images"),
    ],
)
def test_a_folder_beside_that_of_the_classes_is_told_which_path_to_give(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, classes: list[str], meant: str
) -> None:
    """Results of earlier work must never seem to be in the way."""
    write_classes(tmp_path, dict.fromkeys(classes, 4) | {"results/plots": 0, "sweeps": 0})
    told = refusal(make_source("folder", path=tmp_path)).replace(str(tmp_path), "HERE")
    assert told.startswith("path: HERE/results holds no picture (.jpg, ")
    assert told.endswith(f"; did you mean HERE/{meant}?")
    load_task(make_source("folder", path=tmp_path / meant), SMALL)


def test_folders_of_folders_of_pictures_are_told_to_be_classes(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, capsys: pytest.CaptureFixture[str]
) -> None:
    write_classes(tmp_path, {"pets/cat": 5, "pets/dog": 5, "plants/rose": 5, "plants/oak": 5})
    assert load_task(make_source("folder", path=tmp_path), SMALL).classes == ("pets", "plants")
    assert (
        f"are pets, plants, each with folders in it; did you mean {tmp_path}/pets?" in capsys.readouterr().err
    )


def test_classes_below_a_folder_of_their_own_are_pictures_of_one_class(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    """Tiny ImageNet has its pictures in a folder of every class: torchvision's ImageFolder reads it."""
    write_classes(tmp_path, {"dog/images": 3, "cat/images": 2})
    assert same(load_task(make_source("folder", path=tmp_path), SMALL, ("test",)).test, tmp_path)


def test_pictures_without_classes_are_no_split(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, capsys: pytest.CaptureFixture[str]
) -> None:
    """ImageNet's test pictures have no labels: its val is what is tested on."""
    write_classes(tmp_path, {"train/dog": 10, "train/cat": 10, "val/dog": 2, "val/cat": 2, "test": 3})
    task = load_task(make_source("folder", path=tmp_path), SMALL)
    assert same(task.test, tmp_path / "val")
    expected = f"warning: {tmp_path}/test holds pictures but no class folders; it is not used"
    assert capsys.readouterr().err == f"{expected}\n"


def test_settings_that_do_not_fit_the_folders_are_refused(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    plain = write_classes(tmp_path / "plain", COUNTS)
    for name in ("train", "val", "test"):
        write_classes(tmp_path / "apart" / name, COUNTS)
    told = refusal(make_source("folder", path=tmp_path / "apart", split=[0.5, 0.2, 0.3]))
    assert told.endswith("apart has folders for its splits already; remove split")
    told = refusal(make_source("folder", path=plain, split=[0, 0.5, 0.5]))
    assert told == "split: leaves no picture for train; give it a larger share, or add pictures"
    told = refusal(make_source("folder", path=plain, classes=["a", "b"]))
    assert told == "classes: 2 names are given for the 3 classes cat, dog, eel"


def test_classes_without_a_picture_to_train_on_are_told(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_classes(tmp_path, {"dog": 9, "cat": 1, "eel": 1})
    source = make_source("folder", path=path, split=[0.2, 0.4, 0.4])
    task = load_task(source, SMALL)
    missing = [name for label, name in enumerate(task.classes) if label not in task.train.labels]
    assert missing and capsys.readouterr().err == (
        f"warning: {tmp_path}: {len(missing)} of the 3 classes have no picture to train on: "
        f"{', '.join(missing)}\n"
    )
    load_task(source, SMALL, ("test",))
    assert not capsys.readouterr().err


def test_a_picture_that_git_lfs_has_not_fetched_is_told(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses
) -> None:
    source = make_source("folder", path=write_classes(tmp_path, COUNTS))
    (tmp_path / "cat" / "007.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull` fetches the file itself; replace it" in refusal(source)


def test_a_damaged_picture_is_named_when_it_is_read(
    tmp_path: Path, make_source: MakeSource, write_classes: WriteClasses, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source("folder", path=write_classes(tmp_path, COUNTS), split=[0, 0, 1])
    damaged = tmp_path / "cat" / "007.png"
    damaged.write_bytes(b"miaow")
    with pytest.raises(ProblemError, match=f"path: {damaged} cannot be read as a picture: "):
        load_task(source, SMALL, ("test",))
    monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 0)
    with pytest.raises(ProblemError, match=f"path: {damaged} cannot be read as a picture: "):
        load_task(source.model_copy(update={"shift": "noisy", "severity": 1}), SMALL, ("test",))


def test_pacs(shared_data: Path, make_source: MakeSource) -> None:
    task = load_task(make_source("folder", path=shared_data / "pacs/{split}/sketch"), TimmPreprocessing(16))
    assert task.classes == ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    for name in ("train", "val", "test"):
        theirs = ImageFolder(str(shared_data / "pacs" / name / "sketch"))
        assert getattr(task, name).labels.tolist() == theirs.targets
    ood = load_task(make_source("folder", path=shared_data / "pacs/test/cartoon"), SMALL, ("test",))
    assert (ood.classes, len(ood.test), len(ood.train)) == (task.classes, 175, 0)


def test_a_sample_of_imagenet(shared_data: Path, make_source: MakeSource) -> None:
    source = make_source(
        "folder",
        path=shared_data / "imagenet_sample",
        classes="imagenet",
        templates="imagenet",
        split=[0, 0.4, 0.6],
        limit=40,
    )
    task = load_task(source, SMALL, ("val", "test"))
    assert (task.classes[0], task.classes[999], len(task.templates)) == ("tench", "toilet paper", 80)
    assert len(task.val) == len(task.test) == 40
    assert not set(task.val.labels.tolist()) & set(task.test.labels.tolist())
