"""What is listed of a folder, against torchvision's ImageFolder where a folder is plain."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from trainables.data.listing import in_order, picture_files, subfolders
from trainables.errors import ProblemError

WriteClasses = Callable[[Path, dict[str, int]], Path]


def test_pictures_are_listed_as_torchvision_does(tmp_path: Path, write_classes: WriteClasses) -> None:
    write_classes(tmp_path, {"dog": 2, "dog/a": 2, "dog/a/x": 1, "dog/a-b": 1, "dog/B": 2, "cat": 1})
    (tmp_path / "dog" / "notes.txt").touch()
    (tmp_path / "dog" / "000.png").rename(tmp_path / "dog" / "z.PNG")
    files = [file for name in ("cat", "dog") for file in picture_files(tmp_path / name)]
    assert files == [file for file, _ in ImageFolder(str(tmp_path)).samples]


@pytest.mark.parametrize(
    "name",
    ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information"],
)
def test_what_systems_put_there_is_not_listed(
    tmp_path: Path, write_classes: WriteClasses, write_picture: Callable[..., Path], name: str
) -> None:
    write_classes(tmp_path, {"dog": 2, name: 1, f"dog/{name}": 1, f"dog/deep/{name}/deeper": 1})
    write_picture(tmp_path / "dog" / "._000.png")
    assert [folder.name for folder in subfolders(tmp_path)] == ["dog"]
    assert [Path(file).name for file in picture_files(tmp_path / "dog")] == ["000.png", "001.png"]


def test_links_upwards_are_no_folders_and_others_are_followed(
    tmp_path: Path, write_classes: WriteClasses
) -> None:
    write_classes(tmp_path, {"set/dog": 2, "set/cat": 3, "elsewhere": 4})
    for link, target in (
        ("set/self", "."),
        ("set/dog/up", ".."),
        ("set/dog/further", "../.."),
        ("set/dog/me", "../dog"),
        ("set/cat/more", "../../elsewhere"),
        ("set/cat/again", "../../elsewhere"),
        ("set/eel", "../elsewhere"),
        ("elsewhere/back", "../set/cat"),
        ("set/tick", "tock"),
        ("set/tock", "tick"),
    ):
        (tmp_path / link).symlink_to(target)
    assert [folder.name for folder in subfolders(tmp_path / "set")] == ["cat", "dog", "eel"]
    counts = {name: len(picture_files(tmp_path / "set" / name)) for name in ("dog", "cat", "eel")}
    assert counts == {"dog": 2, "cat": 7, "eel": 7}


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"caf\xe9", r"b'caf\\xe9'"), (b"a\nb", r"b'a\\nb'"), (b"\x1b[2J", r"b'\\x1b\[2J'")],
)
@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
def test_a_name_that_cannot_be_written_is_refused(
    tmp_path: Path, name: bytes, shown: str, folder: bool
) -> None:
    place = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 bytes
    try:
        if folder:
            os.mkdir(place)  # noqa: PTH102
        else:
            os.close(os.open(place + b".png", os.O_CREAT))
    except OSError:
        pytest.skip("this file system has no such names")
    expected = shown if folder else shown.removesuffix("'") + r"\.png'"
    with pytest.raises(
        ProblemError, match=f"holds {expected}: this name is not UTF-8 or has control"
    ) as told:
        picture_files(tmp_path)
    assert str(told.value).isprintable()


def test_names_of_other_scripts_are_fine(tmp_path: Path, write_classes: WriteClasses) -> None:
    write_classes(tmp_path, {"katze 🐈": 1, "кошка": 1, "猫": 1})
    assert len(picture_files(tmp_path)) == 3


def test_numbers_are_ordered_as_numbers_and_names_as_text() -> None:
    numbers = [str(number) for number in range(1000)]
    assert in_order(sorted(numbers)) == tuple(numbers)
    assert in_order(["08", "9", "10", "007"]) == ("007", "08", "9", "10")
    assert in_order(["b10", "b9", "B1"]) == ("B1", "b10", "b9")
    assert in_order(["10", "9", "cat"]) == ("10", "9", "cat")
    with pytest.raises(ProblemError, match="the class folders 01 and 1 are one number; rename one of them"):
        in_order(["1", "2", "01"])


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="cannot be read: No such file or directory"):
        subfolders(tmp_path / "gone")
