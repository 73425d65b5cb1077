from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search_spaces import load_space
from sweeper.progress import Progress, under_way
from sweeper.storage import open_storage
from sweeper.study import SweepStudy

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
WRITTEN = "baselines=[linear, {method: full, each: {training.lr: [5e-5, 3e-4]}}]"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    space = load_space("spaces/clip_lambda.yaml", [WRITTEN, "search.trials=4"])
    return SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, tmp_path / "study.journal"))


def line(study: SweepStudy, key: str, **extra: Any) -> str:
    """What is said when the run has ended."""
    metrics = {"id_accuracy": 90.0, "forgetting": 5.0, "active_blocks": 2}
    report = {"key": key, "state": "complete", "metrics": metrics, "active": BLOCKS[:2], "reason": None}
    said = StringIO()
    with Progress(Console(file=said, width=200), study.record()) as progress:
        study.tell(report | extra)
        progress.update(study.record(), report | extra)
    return said.getvalue()


def test_a_baseline_s_line_names_its_values_once(study: SweepStudy) -> None:
    for _ in range(3):
        study.next_baseline()
    said = line(study, "baseline-full-lr-3e-4")
    assert said.startswith("baseline-full-lr-3e-4 · ID 90.0 % · forgetting +5.0 · active 2/32 · ")
    assert "1/7 done" in said
    assert line(study, "baseline-linear").startswith("baseline-linear · ID 90.0 %")


def test_a_trial_s_line_names_its_values_and_where_it_stands(study: SweepStudy) -> None:
    first, second = study.next_trial(), study.next_trial()
    assert first is not None and second is not None
    said = line(study, first.key)
    assert "trial-0000 lambda=" in said and "active 2/32 · front · " in said
    said = line(study, second.key, metrics={"id_accuracy": 99.0, "forgetting": 5.0, "active_blocks": 3})
    assert "active 3/32 · over budget · " in said


def test_the_table_of_what_is_under_way_has_a_baseline_s_values(study: SweepStudy) -> None:
    for _ in range(3):
        study.next_baseline()
    console = Console(width=120)
    with console.capture() as capture:
        console.print(under_way(study.record()))
    rows = [row for row in capture.get().splitlines() if "baseline-full-lr-5e-5" in row]
    assert len(rows) == 1 and "lr=5e-05" in rows[0]
