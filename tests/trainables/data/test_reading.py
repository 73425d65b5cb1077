"""Every picture is looked at once; what is decoded is kept in a file, as far as the machine has room."""

import fcntl
import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import Source
from trainables.data import ImageSet, TimmPreprocessing, load_task, reading, store
from trainables.data.images import Pixels
from trainables.data.pictures import FilePictures, Listed, file_pictures
from trainables.data.reading import KeptPixels, read_pictures
from trainables.errors import ProblemError, warn

SMALL = TimmPreprocessing(16, crop_pct=0.8)
BYTES = 3 * 16 * 16
COUNT = 9

Decoded = list[int]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and sets that do not stay in memory."""
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(reading, "_OPEN", {})
    warn.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def listed(tmp_path: Path, write_picture: Callable[..., Path]) -> Listed:
    files = [write_picture(tmp_path / f"{seed}.png", seed, (30, 20 + seed)) for seed in range(COUNT)]
    return Listed(file_pictures(tmp_path, files), np.arange(COUNT) % 3)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    """The rows that have been decoded since, in this process."""
    rows: Decoded = []
    plain = FilePictures.open

    def counted(self: FilePictures, row: int) -> Any:
        rows.append(row)
        return plain(self, row)

    monkeypatch.setattr(FilePictures, "open", counted)
    return rows


def all_of(pixels: Tensor | Pixels) -> Tensor:
    return pixels[torch.arange(len(pixels))]


def in_memory(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    with monkeypatch.context() as patch:
        patch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 2**40)
        return read_pictures(listed, SMALL)


def test_a_picture_is_decoded_once_and_is_the_same_to_the_bit(
    listed: Listed, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = in_memory(listed, monkeypatch).pixels
    del decoded[:]
    images = read_pictures(listed, SMALL)
    assert decoded == list(range(COUNT))
    assert isinstance(images.pixels, KeptPixels) and torch.equal(all_of(images.pixels), all_of(plain))
    again = pickle.loads(pickle.dumps(read_pictures(listed, SMALL)))
    assert torch.equal(again.pixels[torch.tensor([4, 0, 4])], plain[torch.tensor([4, 0, 4])])
    assert torch.equal(again.pixels.picture(3), plain[3])
    assert len(decoded) == COUNT


@pytest.mark.parametrize("change", ["SWEEPER_CACHE_GIB=0", "no folder", "deleted"])
def test_without_its_file_a_picture_is_decoded_when_it_is_asked_for(
    listed: Listed,
    decoded: Decoded,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
) -> None:
    plain = in_memory(listed, monkeypatch).pixels
    if change == "SWEEPER_CACHE_GIB=0":
        monkeypatch.setenv("SWEEPER_CACHE_GIB", "0")
    if change == "no folder":
        cache.write_text("a file in its place")
    images = read_pictures(listed, SMALL)
    told = capsys.readouterr().err
    assert told.count("\n") == (change == "no folder") and (str(cache) in told) == (change == "no folder")
    if change == "deleted":
        for file in cache.iterdir():
            file.unlink()
    del decoded[:]
    monkeypatch.setattr(reading, "_OPEN", {})
    assert torch.equal(all_of(images.pixels), all_of(plain)) and len(decoded) == COUNT
    assert torch.equal(all_of(images.to("cpu").pixels), all_of(plain))


def test_a_full_disk_is_told_in_a_line_and_leaves_nothing(
    listed: Listed, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """/dev/full answers every write as a full disk does."""
    plain = all_of(in_memory(listed, monkeypatch).pixels)
    to_file = Path.open

    def full(self: Path, *args: Any, **kwargs: Any) -> Any:
        return to_file(Path("/dev/full") if self.suffix == ".partial" else self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        images = read_pictures(listed, SMALL)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: pictures are decoded anew every time, since {cache} cannot keep them: No space left on "
        "device; SWEEPER_CACHE names another folder"
    )
    assert torch.equal(all_of(images.pixels), plain)
    assert [file.suffix for file in cache.iterdir()] == [".lock"]


def test_another_machine_makes_its_own_file(listed: Listed, cache: Path, decoded: Decoded) -> None:
    images = read_pictures(listed, SMALL)
    expected = all_of(images.pixels)
    for file in cache.iterdir():
        file.unlink()
    reading._OPEN.clear()
    del decoded[:]
    there = images.to("cpu")
    assert len(decoded) == COUNT and torch.equal(all_of(there.pixels), expected) and len(decoded) == COUNT


def test_of_several_processes_one_makes_the_file_and_the_others_wait(
    listed: Listed, cache: Path, decoded: Decoded
) -> None:
    """Threads hold file locks of their own, as processes do."""
    found: list[ImageSet] = []
    threads = [threading.Thread(target=lambda: found.append(read_pictures(listed, SMALL))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == COUNT
    assert all(torch.equal(all_of(images.pixels), all_of(found[0].pixels)) for images in found)


def test_what_a_killed_process_was_making_holds_nobody_up(listed: Listed, cache: Path) -> None:
    """The kernel lets go of its lock, and its unfinished file is no file of ours."""
    read_pictures(listed, SMALL)
    (made,) = cache.glob("*.pixels")
    reading._OPEN.clear()
    made.rename(made.with_name(f"{made.name}.1.partial"))
    images = read_pictures(listed, SMALL)
    assert made.stat().st_size == COUNT * BYTES and len(images.pixels) == COUNT


def test_a_changed_picture_is_decoded_again(
    listed: Listed, tmp_path: Path, write_picture: Callable[..., Path]
) -> None:
    before = all_of(read_pictures(listed, SMALL).pixels)
    write_picture(tmp_path / "3.png", 77, (30, 23))
    after = all_of(read_pictures(listed, SMALL).pixels)
    assert [row for row in range(COUNT) if not torch.equal(before[row], after[row])] == [3]


def test_files_take_no_more_than_they_may_and_old_ones_go_first(
    listed: Listed, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()
    files = [cache / name for name in ("older", "old", "new")]
    for file, hours in zip(files, (60, 50, 1), strict=True):
        file.write_bytes(bytes(COUNT * BYTES))
        os.utime(file, (time.time() - 3600 * hours,) * 2)
    monkeypatch.setenv("SWEEPER_CACHE_GIB", str(3.5 * COUNT * BYTES / 2**30))
    read_pictures(listed, SMALL)
    assert [file.exists() for file in files] == [False, True, True]
    assert len(list(cache.glob("*.pixels"))) == 1
    # What was used within a day stays, and the next set is not kept.
    monkeypatch.setenv("SWEEPER_CACHE_GIB", str(1.5 * COUNT * BYTES / 2**30))
    read_pictures(listed.chosen(np.arange(8)), SMALL)
    assert len(list(cache.glob("*.pixels"))) == 1 and files[2].exists()


@pytest.mark.parametrize("told", ["many", "-1", "nan"])
def test_a_bound_that_is_no_number_is_refused(
    listed: Listed, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setenv("SWEEPER_CACHE_GIB", told)
    with pytest.raises(ProblemError, match=f"SWEEPER_CACHE_GIB: expects a number .* got '{told}'"):
        read_pictures(listed, SMALL)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


@pytest.mark.parametrize("large", [True, False], ids=["decoded when asked for", "in memory"])
def test_damaged_pictures_are_left_out_up_to_a_number_and_named(
    listed: Listed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    sound = in_memory(listed, monkeypatch)
    cut(tmp_path / "2.png")
    (tmp_path / "5.png").write_bytes(b"")
    if not large:
        monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 2**40)
    rows = torch.tensor([0, 1, 3, 4, 6, 7, 8])
    for _ in range(2):  # the second time it is known
        with pytest.raises(ProblemError) as refused:
            read_pictures(listed, SMALL, allowed=1)
        assert str(refused.value).startswith(f"path: {tmp_path}/2.png cannot be read as a picture: ")
        assert str(refused.value).endswith(
            " (1 more cannot be read either), or let damaged: 2 leave such pictures out"
        )
        images = read_pictures(listed, SMALL, allowed=2)
        assert torch.equal(images.labels, sound.labels[rows])
        assert torch.equal(all_of(images.pixels), sound.pixels[rows])
        assert [told.split()[1] for told in images.damaged] == [f"{tmp_path}/{n}.png" for n in (2, 5)]
    assert images.whole is not None and images.whole.made_ready() is images.whole
    assert images.whole.picture(2).shape == (3, 23, 30)  # the fourth picture, as it lies on disk


def test_whole_pictures_are_as_they_lie_on_disk_but_for_large_ones(
    listed: Listed, tmp_path: Path, write_picture: Callable[..., Path], decoded: Decoded
) -> None:
    write_picture(tmp_path / "3.png", 3, (120, 90))
    images = read_pictures(listed, SMALL)
    assert images.whole is not None
    streamed = [images.whole.picture(row) for row in range(COUNT)]
    assert streamed[0].shape == (3, 20, 30) and streamed[3].shape == (3, 32, 42)
    whole = images.whole.made_ready()
    del decoded[:]
    kept = [whole.picture(row) for row in range(COUNT)]
    assert not decoded and all(map(torch.equal, kept, streamed))


def test_the_sources_setting_is_what_may_be_left_out(
    tmp_path: Path,
    make_source: Callable[..., Source],
    write_classes: Callable[[Path, Mapping[str, int]], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_source("folder", path=write_classes(tmp_path / "pets", {"cat": 4, "dog": 4}), damaged=1)
    cut(tmp_path / "pets" / "dog" / "001.png")
    images = load_task(source, SMALL, ("test",)).test
    assert len(images) == 7 and len(images.damaged) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"warning: {tmp_path}/pets: 1 of the pictures cannot be read and are left out; the first: path: "
    )
    with pytest.raises(ProblemError, match="or let damaged: 1 leave such pictures out"):
        load_task(source.model_copy(update={"damaged": 0}), SMALL, ("test",))


def test_a_picture_that_vanishes_is_one_line(
    listed: Listed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_CACHE_GIB", "0")
    images = read_pictures(listed, SMALL)
    (tmp_path / "4.png").unlink()
    with pytest.raises(ProblemError) as told:
        all_of(images.pixels)
    assert str(told.value) == (
        f"path: {tmp_path}/4.png cannot be read as a picture: [Errno 2] No such file or directory; "
        "replace it, or move it elsewhere"
    )


def test_a_lock_is_let_go(cache: Path) -> None:
    with store.only_maker("a"):
        pass
    with (cache / "a.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
