"""Equal content, equal text; anything else, another."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from trainables import Problem
from trainables.data.pictures import DatasetPictures, LazyPixels, Pictures, file_pictures
from trainables.fingerprint import fingerprint


def parts(problem: Problem) -> tuple[object, ...]:
    return problem.backbone, problem.task, problem.prompts, problem.ood, problem.probes


def test_it_is_of_the_content_and_not_of_the_object(problem: Problem) -> None:
    assert fingerprint(parts(problem)) == fingerprint(parts(problem.to("cpu")))


def test_a_bit_of_a_weight_or_of_a_picture_changes_it(problem: Problem) -> None:
    seen = {fingerprint(parts(problem))}
    weight = next(iter(problem.backbone.parameters()))
    with torch.no_grad():
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
    seen.add(fingerprint(parts(problem)))
    problem.task.val.pixels[0, 0, 0, 0] ^= 1
    seen.add(fingerprint(parts(problem)))
    seen.add(fingerprint(parts(replace(problem, probes=problem.probes * 2))))
    assert len(seen) == 4


@pytest.mark.parametrize(
    "one, other",
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (np.arange(3), np.arange(3)[::-1]),
        (("ab", "c"), ("a", "bc")),
        ((1, (2, 3)), ((1, 2), 3)),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        (None, "None"),
        (1, 1.0),
    ],
)
def test_what_differs_has_another(one: object, other: object) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)


def files_of(folder: Path) -> Pictures:
    return file_pictures(folder, sorted(folder.rglob("*.png")))


def data_set_of(folder: Path) -> Pictures:
    return DatasetPictures(ImageFolder(str(folder)), np.arange(2))


@pytest.mark.parametrize("pictures", [files_of, data_set_of])
def test_pictures_that_are_not_in_memory_count_by_what_their_files_are(
    problem: Problem, tmp_path: Path, pictures: Callable[[Path], Pictures]
) -> None:
    """Another picture under the same path, of the same size, or of the same time, is another one."""

    def found() -> str:
        return fingerprint(LazyPixels(pictures(tmp_path), problem.backbone.preprocessing))

    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    file = tmp_path / "b" / "2.png"
    seen, time = [found()], file.stat().st_mtime_ns
    assert found() == seen[0]
    Image.new("RGB", (8, 8), "blue").save(file)
    os.utime(file, ns=(time, time + 1))
    seen.append(found())
    file.write_bytes(file.read_bytes() + b"more")
    os.utime(file, ns=(time, time))
    seen.append(found())
    assert len(set(seen)) == 3


def test_a_model_counts_by_its_weights_whatever_files_lie_here(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = fingerprint((problem.backbone, problem.task.classes))
    for name in (*problem.backbone.state_dict(), *problem.task.classes):
        (tmp_path / name).touch()
    assert fingerprint((problem.backbone, problem.task.classes)) == before
