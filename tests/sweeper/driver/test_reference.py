"""The pre-trained reference is measured once for the same model and data."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from workplace import REPOSITORY

import trainables
from search_spaces import Space, load_space
from sweeper.driver.reference import known_reference
from trainables import Problem, open_problem


def known(problem: Problem, space: Space) -> dict[str, float]:
    """The reference, and how often it was really measured for it."""
    measured: list[dict[str, float]] = []

    def measure() -> dict[str, float]:
        measured.append({"probe/glyphs": 98.7})
        return measured[-1]

    said: list[str] = []
    reference = dict(known_reference(problem, space, measure, said.append))
    assert len(said) == len(measured) and all(line.startswith("measuring the pre-tr") for line in said)
    return reference | {"measured": len(measured)}


def test_it_is_kept_by_content(tmp_path: Path) -> None:
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml")
    problem = open_problem(space)
    with contextlib.chdir(tmp_path):
        assert known(problem, space) == {"probe/glyphs": 98.7, "measured": 1}
        assert known(problem, space.with_values({"training.lr": 1.0}))["measured"] == 0
        assert known(problem.to("cpu"), space) == {"probe/glyphs": 98.7, "measured": 0}
        fewer = replace(problem, probes=problem.probes[:1])
        assert known(fewer, space)["measured"] == 1
        half = space.with_values({"training.precision": "bfloat16"})
        assert known(problem, half)["measured"] == 1
        with torch.no_grad():
            next(iter(problem.backbone.parameters())).add_(1e-3)
        assert known(problem, space)["measured"] == 1


@pytest.fixture
def opened() -> tuple[Problem, Space]:
    space = load_space(REPOSITORY / "spaces" / "dino_lambda.yaml")
    return open_problem(space), space


@pytest.mark.parametrize(
    "library", ["torch", "torchvision", "timm", "open_clip_torch", "transformers", "pillow"]
)
def test_another_version_of_a_library_measures_again(
    opened: tuple[Problem, Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [known(*opened)["measured"] for _ in range(2)] == [1, 0]
    metadata = tmp_path / "installed" / f"{library}-0.0.1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 0.0.1\n")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    assert [known(*opened)["measured"] for _ in range(2)] == [1, 0]


def test_what_the_weights_do_not_say_measures_again(
    opened: tuple[Problem, Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    problem, space = opened
    assert known(problem, space)["measured"] == 1
    attention = next(m for m in problem.backbone.modules() if hasattr(m, "num_heads"))
    attention.num_heads *= 2
    assert known(problem, space)["measured"] == 1
    problem.backbone.mean += 0.1
    assert [known(problem, space)["measured"] for _ in range(2)] == [1, 0]


def test_other_code_measures_again(
    opened: tuple[Problem, Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line in any module of trainables, in a copy of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trainables.__path__[0], tmp_path / "trainables")
    monkeypatch.setattr(trainables, "__path__", [str(tmp_path / "trainables")])
    assert [known(*opened)["measured"] for _ in range(2)] == [1, 0]
    with (tmp_path / "trainables" / "probes" / "knn.py").open("a") as file:
        file.write("# changed\n")
    assert [known(*opened)["measured"] for _ in range(2)] == [1, 0]
