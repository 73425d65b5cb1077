"""A trial's numbers depend on no process that reads pictures, no file that keeps them, and no pack."""

import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from search_spaces import Source, Space
from search_spaces.training import Resources
from trainables import Problem, Training, measure_reference
from trainables.data import Task, load_task, reading
from trainables.engine.prefix import Prefix
from trainables.fine_tune import FineTune
from trainables.probes import KnnProbe

MakeSpace = Callable[..., Space]
CHANGES: dict[str, Any] = {"crop": 0.4, "flip": True, "randaugment": 9, "mixup": 0.3}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three classes and many sizes."""
    folder, rng = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (folder / name).mkdir()
        for number in range(12):
            sides = rng.integers(18, 60, 2)
            Image.fromarray(rng.integers(0, 256, (*sides, 3), dtype=np.uint8)).save(
                folder / name / f"{number}.png"
            )
    return folder


@pytest.fixture(params=["in memory", "decoded when asked for", "kept", "two processes", "all of it"])
def way(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int]]:
    """A way to the same pictures, and the processes that read them."""
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "_OPEN", {})
    if request.param != "in memory":
        monkeypatch.setattr(reading, "LARGEST_IN_MEMORY", 0)
    if request.param in ("decoded when asked for", "two processes"):
        monkeypatch.setenv("SWEEPER_CACHE_GIB", "0")
    yield request.param, 2 if request.param in ("two processes", "all of it") else 0


def opened(problem: Problem, folder: Path, workers: int) -> Problem:
    source = Source(source="folder", path=str(folder), name="pets")

    def load() -> Task:
        return load_task(source, problem.backbone.preprocessing)

    probe = KnnProbe("shapes", load(), k=3)
    return replace(problem, task=load(), prompts=None, probes=(probe,), workers=workers).to("cpu")


def measured(problem: Problem, spaces: list[Space], prefix: Prefix | None = None) -> list[Any]:
    training = Training(problem, spaces, prefix)
    epochs = [training.run_epoch() for _ in range(training.epochs)]
    return [
        [{name: value for name, value in member.items() if name != "seconds"} for member in metrics]
        for metrics in [*epochs, training.test()]
    ]


EXPECTED: dict[str, list[Any]] = {}


@pytest.mark.parametrize("changes", [{}, CHANGES], ids=["as they are", "changed at random"])
@pytest.mark.parametrize("shared", [False, True], ids=["every layer", "remembered layers"])
def test_every_way_to_the_pictures_gives_the_same_numbers(
    way: tuple[str, int],
    problem: Problem,
    pets: Path,
    make_space: MakeSpace,
    changes: dict[str, Any],
    shared: bool,
) -> None:
    """To the bit, for a pack whose members see other pictures at a step."""
    name, workers = way
    spaces = [make_space("lora", {"rank": 2}, seed=seed, head="fresh", **changes) for seed in (0, 1)]
    there = opened(problem, pets, workers)
    assert isinstance(there.task.train.pixels, Tensor) == (name == "in memory")
    found = measured(there, spaces, Prefix(there.backbone, 1.0, workers) if shared else None)
    assert found == EXPECTED.setdefault(f"{bool(changes)} {shared}", found)
    assert found[0][0]["loss"] != found[0][1]["loss"]


def test_a_member_of_a_pack_sees_what_it_sees_alone(
    way: tuple[str, int], problem: Problem, pets: Path, make_space: MakeSpace
) -> None:
    there = opened(problem, pets, way[1])
    spaces = [make_space("lora", seed=seed, head="fresh", **CHANGES) for seed in (0, 1)]
    packed = Training(there, spaces)._drawn(2)
    alone = [Training(there, [space])._drawn(2) for space in spaces]
    for batch, *own in zip(packed, *alone, strict=True):
        pixels, labels = batch.pixels.unflatten(0, batch.rows.shape), batch.labels
        for k, each in enumerate(own):
            assert torch.equal(pixels[k], each.pixels) and torch.equal(labels[k], each.labels[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_vanishes_is_one_line_on_the_trial(
    problem: Problem,
    pets: Path,
    make_space: MakeSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    monkeypatch.setattr(reading, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(reading, "_OPEN", {})
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEPER_CACHE_GIB", "0")
    shutil.copytree(pets, tmp_path / "pets")
    space = make_space("lora", head="fresh", epochs=3, crop=0.5)
    space = space.model_copy(update={"resources": Resources(workers=workers)})
    there = opened(problem, tmp_path / "pets", 0)
    trial = FineTune.__new__(FineTune)
    member = {"key": "a", "space": space, "folder": str(tmp_path / "trial")}
    trial.setup({"members": [member]}, there, measure_reference(there, space))
    assert trial.step()["members"][0]["state"] == "running"
    shutil.rmtree(tmp_path / "pets" / "eel")
    (report,) = trial.step()["members"]
    assert report["state"] == "failed" and "\n" not in report["reason"]
    assert report["reason"].startswith(f"ProblemError: path: {tmp_path}/pets/eel/")
    assert report["reason"].endswith(
        ".png cannot be read as a picture: [Errno 2] No such file or directory; "
        "replace it, or move it elsewhere"
    )
    gc.unfreeze()
