"""The pre-trained reference is measured once for the same model and data."""

import contextlib
from dataclasses import replace
from pathlib import Path

import torch
from workplace import REPOSITORY

from search_spaces import Space, load_space
from sweeper.driver.reference import known_reference
from trainables import Problem, open_problem


def known(problem: Problem, space: Space) -> dict[str, float]:
    """The reference, and how often it was really measured for it."""
    measured: list[dict[str, float]] = []

    def measure() -> dict[str, float]:
        measured.append({"probe/glyphs": 98.7})
        return measured[-1]

    return dict(known_reference(problem, space, measure)) | {"measured": len(measured)}


def test_it_is_kept_by_content(tmp_path: Path) -> None:
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml")
    problem = open_problem(space.dump())
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
