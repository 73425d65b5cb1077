"""Two people, two folders, one database, one name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Postgres, server

from search_spaces import load_space
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.claim import claim
from sweeper.study.sweep_study import SweepStudy, open_study

SPACE = load_space("spaces/clip_lambda.yaml", ["baselines=[]", "budget={active_blocks: 1}"])


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with server() as running:
        yield running


def start(folder: Path, url: str | None, said: list[str], monkeypatch: pytest.MonkeyPatch) -> SweepStudy:
    """What `run` does in a person's folder, until the first trial."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    sweep = SweepFolder("clip_lambda")
    claim(sweep, url, said.append)
    storage = open_storage(url, sweep.journal)
    assert not SweepStudy.exists(sweep.study, storage)
    return SweepStudy.create(SPACE, ("a", "b"), {}, 1, storage, name=sweep.study, sweep_id=sweep.id)


def test_each_has_a_study_of_their_own(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said = postgres.create_database("claims"), list[str]()
    first = start(tmp_path / "first", url, said, monkeypatch)
    assert first.name == "clip_lambda" and not said
    # The other one starts while the first is still measuring, and once more after it was killed there.
    monkeypatch.chdir(tmp_path)
    second = start(tmp_path / "second", url, said, monkeypatch)
    assert second.name == f"clip_lambda-{second.id}" and second.id != first.id
    assert len(said) == 1 and f"keeps this one as '{second.name}'" in said[0] and "s3cret" not in said[0]
    for folder, study in (("first", first), ("second", second)):
        job = study.next_trial()
        assert job is not None
        metrics = {"id_accuracy": 80.0, "forgetting": 1.0, "active_blocks": 2}
        study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": (), "reason": None})
        monkeypatch.chdir(tmp_path / folder)
        again = open_study(SweepFolder("clip_lambda"), SweepFolder("clip_lambda").storage(url))
        assert again.id == study.id and again.record() == study.record()
        assert SweepFolder("clip_lambda").kept("s3://results") == f"s3://results/{study.name}"
    storage = open_storage(url, Path())
    assert SweepStudy.names(storage) == ["clip_lambda", second.name]


def test_a_start_that_was_cut_off_keeps_its_place(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said = postgres.create_database("cut_off"), list[str]()
    monkeypatch.chdir(tmp_path)
    claim(SweepFolder("clip_lambda"), url, said.append)  # killed in measuring
    settled = SweepFolder("clip_lambda").id
    study = start(tmp_path, url, said, monkeypatch)
    assert (study.name, study.id) == ("clip_lambda", settled) and not said


@pytest.mark.parametrize("kept", ["journal", "sqlite"])
def test_another_sweep_in_the_place_of_the_folders_own_is_refused(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = None if kept == "journal" else f"sqlite:///{tmp_path}/studies.db"
    mine = start(tmp_path / "mine", url, [], monkeypatch)
    folder = SweepFolder("clip_lambda")
    storage = open_storage(url, folder.journal)
    SweepStudy.create(SPACE, ("a", "b"), {}, 1, storage, name=mine.name)  # as after the storage was emptied
    with pytest.raises(UserError, match="is another one; run yours again under another --name"):
        open_study(folder, url)


def test_a_sweep_from_before_ids_is_given_one(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path / "journal")
    study_id = storage.get_study_id_from_name(SweepStudy.create(SPACE, ("a",), {}, 1, storage).name)
    storage.set_study_user_attr(study_id, "id", None)
    study = SweepStudy("clip_lambda", storage)
    assert study.predates_ids and study.id is None
    given = study.identify()
    again = SweepStudy("clip_lambda", open_storage(None, tmp_path / "journal"))
    assert again.predates_ids and again.identify() == again.id == given
