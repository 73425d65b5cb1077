from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search_spaces import load_space
from sweeper.driver import progress
from sweeper.driver.progress import Progress, sweep_line, under_way
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
METRICS = {"id_accuracy": 90.0, "forgetting": 5.0, "active_blocks": 2}
WRITTEN = "baselines=[linear, {method: full, each: {training.lr: [5e-5, 3e-4]}}]"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    space = load_space("spaces/clip_lambda.yaml", [WRITTEN, "search.trials=4"])
    return SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, tmp_path / "study.journal"))


def line(study: SweepStudy, key: str, **extra: Any) -> str:
    """What is said when the run has ended."""
    report = {"key": key, "state": "complete", "metrics": METRICS, "active": BLOCKS[:2], "reason": None}
    said = StringIO()
    with Progress(Console(file=said, width=200), study.record()) as shown:
        study.tell(report | extra)
        shown.update(study.record(), report | extra)
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


def test_a_pruned_trial_s_line_has_its_reason(study: SweepStudy) -> None:
    job = study.next_trial()
    assert job is not None
    said = line(study, job.key, state="pruned", reason="dominated at epoch 1 by 3 of 4 trials")
    assert said.startswith("trial-0000 pruned: dominated at epoch 1 by 3 of 4 trials · 1/7 done")
    assert "0 failed, 1 pruned, 0 inside the budget" in sweep_line(study.record())


def test_fewer_blocks_than_exactly_asked_for_are_under_the_budget(tmp_path: Path) -> None:
    space = load_space("spaces/clip_lambda.yaml", ["budget={active_blocks: 3, rule: exactly}"])
    study = SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, tmp_path / "study.journal"))
    job = study.next_trial()
    assert job is not None
    assert "active 2/32 · under budget · " in line(study, job.key)


def test_confirmations_count_as_soon_as_there_is_a_front_to_confirm(tmp_path: Path) -> None:
    written = ["baselines=[]", "search.trials=2", "confirm={trials: 3, seeds: 2}"]
    space = load_space("spaces/clip_lambda.yaml", written)
    study = SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, tmp_path / "study.journal"))
    first, second = study.next_trial(), study.next_trial()
    assert first is not None and second is not None
    assert sweep_line(study.record()).startswith("clip_lambda: 0/2 done")
    assert "1/4 done" in line(study, first.key)
    better = {"id_accuracy": 80.0, "forgetting": 1.0, "active_blocks": 2}
    assert "2/6 done" in line(study, second.key, metrics=better)
    job = study.next_confirmation()
    assert job is not None and job.key == "confirmation-0000-seed-1001"
    assert job.key in "".join(row for row in _shown(study))
    said = line(study, job.key)
    assert said.startswith(
        "confirmation-0000-seed-1001 · ID 90.0 % · forgetting +5.0 · active 2/32 · 3/6 done"
    )


def _shown(study: SweepStudy) -> list[str]:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(under_way(study.record()))
    return capture.get().splitlines()


def test_the_table_of_what_is_under_way_has_a_baseline_s_values(study: SweepStudy) -> None:
    for _ in range(3):
        study.next_baseline()
    rows = [row for row in _shown(study) if "baseline-full-lr-5e-5" in row]
    assert len(rows) == 1 and "lr=5e-05" in rows[0]


def test_without_a_terminal_a_long_epoch_is_told_of(
    study: SweepStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = study.next_trial()
    assert job is not None
    running = {"state": "running", "metrics": METRICS | {"epoch": 3}}
    assert line(study, job.key, **running) == ""
    monkeypatch.setattr(progress, "_SILENT", -1.0)
    assert line(study, job.key, **running) == "under way: trial-0000 epoch 3 · 0/7 done, 0 on the front\n"
