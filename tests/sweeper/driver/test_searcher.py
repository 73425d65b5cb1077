from pathlib import Path
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from search_spaces import load_space
from sweeper.driver.faults import Faults
from sweeper.driver.searcher import PackSearcher
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

REPOSITORY = Path(__file__).parents[3]
METRICS = {"id_accuracy": 90.0, "forgetting": 1.0, "active_blocks": 2.0}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepStudy:
    monkeypatch.chdir(tmp_path)
    space = load_space(
        REPOSITORY / "spaces" / "clip_lambda.yaml",
        ["search={sampler: random, trials: 5}", "baselines=[]", "budget={active_blocks: 2}"],
    )
    storage = open_storage(None, tmp_path / "journal")
    return SweepStudy.create(space, tuple("abc"), {}, 4, storage, results="s3://bucket/sweeps")


def make_searcher(study: SweepStudy) -> PackSearcher:
    return PackSearcher(study, SweepFolder("clip_lambda"), Faults(lambda sentence: None), lambda: None)


def keys(pack: Any) -> list[str]:
    return [member["key"] for member in pack["members"]]


def end(study: SweepStudy, key: str) -> None:
    study.tell({"key": key, "state": "complete", "metrics": METRICS, "active": ["a", "b"]})


def test_members_of_a_pack_that_was_too_large_go_on_in_two(study: SweepStudy) -> None:
    searcher = make_searcher(study)
    whole = searcher.suggest("a")
    assert isinstance(whole, dict)
    first, *others = keys(whole)
    end(study, first)
    searcher.halve(others)
    halves = [searcher.suggest("b"), searcher.suggest("c")]
    assert [keys(half) for half in halves] == [others[:1], others[1:]]
    members = [member for half in halves for member in half["members"]]
    assert members == whole["members"][1:]
    assert keys(searcher.suggest("d")) == ["trial-0004"]


def test_a_pack_is_of_one_method(tmp_path: Path) -> None:
    changes = [
        "search={sampler: random, trials: 24}",
        "baselines=[]",
        "search.parameters={method.name: {choices: [selective_lora, lora]}, method.rank: {choices: [1, 2]}}",
    ]
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", [*changes, "budget={active_fraction: 1}"])
    study = SweepStudy.create(space, tuple("abc"), {}, 4, open_storage(None, tmp_path / "methods"))
    searcher = make_searcher(study)
    found: list[str] = []
    sizes = []
    while isinstance(pack := searcher.suggest("a"), dict):
        assert len({member["space"].method.name for member in pack["members"]}) == 1
        found += keys(pack)
        sizes.append(len(pack["members"]))
    assert sorted(found) == [f"trial-{number:04d}" for number in range(24)]
    assert 6 <= len(sizes) <= 12 and max(sizes) > 1
    for key in found:
        end(study, key)
    assert searcher.suggest("b") == Searcher.FINISHED


def test_the_search_is_not_over_while_a_pack_may_come_back(study: SweepStudy) -> None:
    searcher = make_searcher(study)
    packs = [keys(searcher.suggest("a")), keys(searcher.suggest("b"))]
    assert searcher.suggest("c") is None
    searcher.halve(packs[1])
    assert keys(searcher.suggest("d")) == packs[1]
    for key in (key for pack in packs for key in pack):
        end(study, key)
    assert searcher.suggest("e") == Searcher.FINISHED


def test_checkpoints_are_where_the_results_are_kept(study: SweepStudy) -> None:
    pack = make_searcher(study).suggest("a")
    assert isinstance(pack, dict)
    assert pack["members"][0]["folder"] == "s3://bucket/sweeps/clip_lambda/trials/trial-0000"


def test_a_trial_that_a_database_began_without_an_answer_is_trained_too(study: SweepStudy) -> None:
    searcher = make_searcher(study)
    first = keys(searcher.suggest("a"))
    storage = study._storage
    storage.create_new_trial(storage.get_study_id_from_name("clip_lambda"))
    assert keys(searcher.suggest("b")) == ["trial-0004"]
    for key in [*first, "trial-0004"]:
        end(study, key)
    assert searcher.suggest("c") == Searcher.FINISHED
    assert [t.state for t in optuna.load_study(study_name="clip_lambda", storage=storage).trials] == [
        optuna.trial.TrialState.COMPLETE
    ] * 5


def begun_at_once(folder: Path, *settings: str) -> int:
    """How many trials are handed out before one has ended, however much room there is."""
    space = load_space(
        REPOSITORY / "spaces" / "clip_lambda.yaml", ["baselines=[]", "budget={active_blocks: 2}", *settings]
    )
    study = SweepStudy.create(space, tuple("abc"), {}, 1, open_storage(None, folder / "many"))
    searcher = make_searcher(study)
    while searcher.suggest("a") is not None:
        pass
    return len(study.record().trials)


@pytest.mark.parametrize(
    ("settings", "begun"),
    [
        (("search.sampler=tpe", "search.trials=16"), 4),
        (("search.sampler=tpe", "search.trials=3"), 1),
        (("search.sampler=random", "search.trials=16"), 16),
    ],
)
def test_a_sampler_that_learns_is_left_its_rounds(
    settings: tuple[str, ...], begun: int, tmp_path: Path
) -> None:
    assert begun_at_once(tmp_path, *settings) == begun


def test_how_many_are_under_way_can_be_said(tmp_path: Path) -> None:
    """Tune keeps to the number, so the searcher holds nothing back."""
    assert begun_at_once(tmp_path, "search.trials=16", "resources.max_parallel=9") == 16
