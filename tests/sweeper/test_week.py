"""What is done with a sweep that runs for long: it ends in time, changes its resources, and is deleted."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from workplace import Workplace, run_arguments, trials

from search_spaces import SpaceError, load_space
from sweeper.driver import searcher
from sweeper.driver.faults import Faults
from sweeper.driver.runner import _change
from sweeper.driver.searcher import PackSearcher
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

SPACE = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"


def make_study(folder: Path, *settings: str) -> SweepStudy:
    search = "search={sampler: random, trials: 20, parameters: {training.lr: {low: 1e-4, high: 1e-2}}}"
    space = load_space(SPACE, ["baselines=[]", "budget={active_blocks: 2}", search, *settings])
    storage = open_storage(None, folder / "journal")
    return SweepStudy.create(space, tuple("abc"), {"retained_accuracy": 90.0}, 1, storage)


def end(study: SweepStudy, accuracy: float, forgetting: float) -> None:
    job = study.next_trial()
    assert job is not None
    metrics = {"id_accuracy": accuracy, "forgetting": forgetting, "active_blocks": 2.0, "epoch": 1}
    study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": ["a", "b"]})


def ask(study: SweepStudy, said: list[str]) -> Any:
    return PackSearcher(study, SweepFolder("s"), Faults(said.append), lambda: None).suggest("a")


def test_a_search_ends_when_its_front_has_not_grown(tmp_path: Path) -> None:
    study, said = make_study(tmp_path, "search.patience=3"), list[str]()
    end(study, 80, 5)
    for forgetting in (6, 7):
        end(study, 80, forgetting)
    assert isinstance(ask(study, said), dict)
    study = SweepStudy("clip_lambda", open_storage(None, tmp_path / "journal"))
    study.interrupted()
    for key in ("trial-0003",):
        metrics = {"id_accuracy": 81.0, "forgetting": 5.0, "active_blocks": 2.0, "epoch": 1}
        study.tell({"key": key, "state": "complete", "metrics": metrics, "active": ["a", "b"]})
    for forgetting in (6, 7, 8):
        end(study, 80, forgetting)
    assert ask(study, said) == "FINISHED"
    assert study.asked == 7 and study.record().asked == 7
    assert said == [
        "search.patience: the front's hypervolume has not grown for 3 trials, so no more than the 7 trials "
        "that have begun are trained"
    ]


def test_a_search_ends_after_its_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, said = make_study(tmp_path, "search.hours=2"), list[str]()
    asking = PackSearcher(study, SweepFolder("s"), Faults(said.append), lambda: None)
    assert isinstance(asking.suggest("a"), dict)
    now = searcher.time.monotonic()
    monkeypatch.setattr(searcher.time, "monotonic", lambda: now + 2 * 3600 + 1)
    assert asking.suggest("b") is None and study.asked == 1
    assert said == ["search.hours: 2 h are over, so no more than the 1 trials that have begun are trained"]


def test_resources_of_a_sweep_can_be_changed_and_nothing_else(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    assert _change(study, ["resources.cpus_per_trial=2", "resources.pack=4"]) is None
    assert _change(study, ["search.trials=30", "search.hours=5"]) == 30
    again = SweepStudy("clip_lambda", open_storage(None, tmp_path / "journal"))
    assert (again.space.resources.cpus_per_trial, again.pack, again.space.search.hours) == (2, 4, 5)
    with pytest.raises(UserError, match=r"--set training.lr, search: cannot be changed.*search.hours"):
        _change(study, ["training.lr=1", "resources.pack=1", "search={}"])
    with pytest.raises(SpaceError, match=r"--set resources.cpus=2: resources.cpus"):
        _change(study, ["resources.cpus=2"])


@pytest.mark.slow
def test_a_sweep_with_a_name_of_digits_is_run_changed_and_deleted(tmp_path: Path) -> None:
    place, url = Workplace(tmp_path), f"sqlite:///{tmp_path}/study.db"
    arguments = run_arguments("search={sampler: random, trials: 1}", "baselines=[]", "training.epochs=1")
    more = ("--name", "20240101", "--storage", url, "--results", str(tmp_path / "elsewhere"))
    budget = ("--set", "budget={active_blocks: 32}")
    place.sweeper(*arguments, *budget, *more)
    place.sweeper("resume", "20240101", "--set", "search.trials=2", "--set", "resources.max_parallel=1")
    assert list(trials(place, "20240101")["state"]) == ["complete"] * 2
    assert "do it by --yes" in place.sweeper("delete", "20240101", status=2)
    assert len(optuna.get_all_study_names(url)) == 2
    told = place.sweeper("delete", "20240101", "--yes")
    assert told.startswith("deleted sweep '20240101' (2 trials, ")
    assert optuna.get_all_study_names(url) == []
    assert not (tmp_path / "sweeps" / "20240101").exists()
    assert not (tmp_path / "elsewhere" / "20240101").exists()
    assert "there is no sweep" in place.sweeper("delete", "20240101", "--yes", status=2)
