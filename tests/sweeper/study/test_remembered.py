"""The record that grows with the sweep, held against Optuna's own front and against a study read afresh."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial

from search_spaces import load_space
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.remembered import Remembered
from sweeper.study.sweep_study import SweepStudy

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))


@pytest.fixture(params=["journal", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def ended(key: str, rng: np.random.Generator) -> dict[str, Any]:
    """The last report of a trial; so few values are possible that many points are equal."""
    state = str(rng.choice(["complete", "failed", "pruned"], p=[0.8, 0.1, 0.1]))
    active = int(rng.integers(1, 5))
    metrics = {
        "id_accuracy": float(rng.integers(60, 66)),
        "forgetting": float(rng.integers(-1, 5)),
        "active_blocks": active,
        "epoch": 2,
    }
    told = {"metrics": metrics, "epochs": [], "active": BLOCKS[:active], "reason": state}
    return {"key": key, "state": state, "rungs": {1: (50.0, 2.0)}, **told}


@pytest.mark.parametrize("seed", range(3))
def test_at_every_end_the_record_is_that_of_a_study_read_afresh(
    seed: int, url: str | None, tmp_path: Path
) -> None:
    space = load_space("spaces/clip_lambda.yaml", ["search.trials=25", "search.sampler=random"])
    storage = open_storage(url, tmp_path / "study.journal")
    study = SweepStudy.create(space, BLOCKS, {}, 1, storage)
    plain = optuna.load_study(study_name=space.sweep, storage=storage)
    rng = np.random.default_rng(seed)
    jobs = [study.next_trial() for _ in range(5)]
    fronts = set()
    while jobs:
        job = jobs.pop(int(rng.integers(len(jobs))))  # in no order, as on a cluster
        assert job is not None
        study.tell(ended(job.key, rng))
        if new := study.next_trial():
            jobs.append(new)
        fresh = SweepStudy(space.sweep, storage)
        record = study.record()
        assert record == fresh.record() and study.rungs() == fresh.rungs()
        best = sorted(plain.best_trials, key=lambda trial: (-trial.values[0], trial.number))
        assert record.front == tuple(f"trial-{trial.number:04d}" for trial in best)
        fronts.add(record.front)
    assert len(fronts) > 3


def test_what_has_ended_is_read_once(tmp_path: Path) -> None:
    read: list[int] = []

    def note(trial: FrozenTrial) -> int:
        read.append(trial.number)
        return trial.number

    study = optuna.create_study()
    remembered = Remembered(note)
    early, late = study.ask(), study.ask()
    study.tell(late, 1.0)
    assert remembered.of(study.get_trials()) == (0, 1)
    study.ask()
    assert remembered.of(study.get_trials()) == (0, 1, 2)
    study.tell(early, state=optuna.trial.TrialState.FAIL)
    for _ in range(3):
        assert remembered.of(study.get_trials()) == (0, 1, 2)
    assert read == [0, 1, 0, 2, 0, 2, 2, 2]
