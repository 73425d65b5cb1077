from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder, fresh_folder, names


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def remember(name: str, url: str | None) -> SweepFolder:
    folder = SweepFolder(name)
    folder.remember(url, name, "1d")
    return folder


def test_where_a_study_is_kept_is_remembered() -> None:
    assert remember("journal", None).storage(None) is None
    assert remember("sqlite", "sqlite:///study.db").storage(None) == f"sqlite:///{Path.cwd()}/study.db"
    assert names() == ["journal", "sqlite"]


def test_a_file_is_found_from_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("sqlite", "sqlite:///study.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert SweepFolder("sqlite", tmp_path).storage(None) == f"sqlite:///{tmp_path}/study.db"
    assert (names(), names(tmp_path)) == ([], ["sqlite"])


def test_a_password_is_never_written_down() -> None:
    folder = remember("cluster", "postgresql://me:secret@db/optuna")
    written = [path.read_text() for path in folder.path.rglob("*") if path.is_file()]
    assert not any("secret" in text for text in written)
    with pytest.raises(
        UserError, match=r"postgresql://me:\*\*\*@db/optuna: set SWEEPER_STORAGE to it with its password"
    ):
        folder.storage(None)
    assert folder.storage("postgresql://me:secret@db/optuna") == "postgresql://me:secret@db/optuna"


def test_an_unknown_sweep_is_named_with_the_nearest_one() -> None:
    remember("clip_lambda", None)
    with pytest.raises(UserError, match=r"there is no sweep 'clip_lamda'.*did you mean 'clip_lambda'"):
        SweepFolder("clip_lamda").storage(None)


@pytest.mark.parametrize("to", ["file/below", "/proc/nowhere/model"])
def test_a_folder_that_cannot_be_made_is_told(to: str) -> None:
    Path("file").touch()
    with pytest.raises(UserError, match=rf"--to {to}: cannot be made: "), fresh_folder(Path(to)):
        pass
