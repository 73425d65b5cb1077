"""What commands say of sets whose accuracies are not plain."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from search_spaces import load_space
from sweeper.commands.evaluate import evaluation_table
from sweeper.commands.subsets import subsets
from trainables import open_problem
from trainables.backbones import open_backbone

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"


def test_the_table_of_an_evaluation_names_means_per_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = load_space(
        SHIPPED,
        [
            "data.id.limit=20",
            "data.id.metric=mean_per_class",
            "data.ood=[{source: digits, limit: 20, shift: inverted, metric: mean_per_class}]",
            "data.probes=[{source: glyphs, limit: 20}]",
        ],
    )
    torch.save(open_backbone(space.dump()["model"]).plain_state(), "same.pt")
    table = evaluation_table(Path("same.pt"), space)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    rows = [line.rsplit(maxsplit=4)[0].strip() for line in capture.get().splitlines() if "%" in line]
    assert rows[0] == "ID accuracy %, mean per class"
    assert "ood/digits-inverted %, mean per class" in rows and "probe/glyphs %" in rows


def test_a_subset_of_classes_is_told() -> None:
    space = load_space(SHIPPED, ["data.ood=[{source: digits, limit: 20, name: some}]"])
    problem = open_problem(space.dump())
    assert list(subsets(problem)) == []
    some = problem.ood["some"].placed([3, 1, 4, 0, 2, 5, 6, 7, 8, 9])
    assert list(subsets(replace(problem, ood={"some": some}))) == []
    fewer = replace(some, answers=torch.tensor([1, 3]))
    assert list(subsets(replace(problem, ood={"some": fewer}))) == [
        "ood some: answers are among 2 of 10 classes"
    ]
