"""Which variables a space may use, and what messages call the paths that they are put into."""

from pathlib import Path

import numpy as np
import pytest

from search_spaces import Source
from trainables.backbones import open_backbone
from trainables.data import load_task
from trainables.data.pairs import load_pairs
from trainables.data.pictures import AsWritten, file_pictures
from trainables.data.preprocessing import TimmPreprocessing
from trainables.errors import MissingError, ProblemError
from trainables.written import Spelling, expanded

SECRET = "postgresql://me:planted-secret@host/db"
SMALL = TimmPreprocessing(16, "bilinear", 1.0)
SOURCE = Source(source="torchvision", dataset="CIFAR10", path="x")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_DATA", str(tmp_path / "hidden"))
    monkeypatch.setenv("POSTGRES_URL", SECRET)
    monkeypatch.setenv("HOME", str(tmp_path / "home-of-someone"))
    monkeypatch.delenv("SWEEPER_EXPAND", raising=False)


@pytest.mark.parametrize("name", ["POSTGRES_URL", "NOT_THERE", "HOME", "PATH", "sweeper_data"])
def test_a_variable_that_is_not_allowed_is_refused_whether_it_is_there_or_not(name: str) -> None:
    with pytest.raises(ProblemError) as told:
        expanded(f"${{SWEEPER_DATA}}/${{{name}}}/x", "path")
    assert str(told.value) == (
        f"path: ${{{name}}} is not expanded, only SWEEPER_DATA; give the whole path, or have "
        f"SWEEPER_EXPAND={name} set where the sweep runs"
    )
    assert not isinstance(told.value, MissingError)


@pytest.mark.parametrize(
    "path",
    [
        "$POSTGRES_URL/x",
        "${POSTGRES_URL:-x}",
        "$(cat /etc/passwd)",
        "`id`",
        "%POSTGRES_URL%",
        "~root/x",
        "{HOME}",
    ],
)
def test_nothing_else_stands_for_anything(path: str) -> None:
    assert expanded(path, "path") == path


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/environ",
        "/run/secrets/pgpass",
        "/run/../run//secrets",
        "/dev/fd/../environ",
        "local-dir:/proc/1",
        "link/self/environ",
        "${SWEEPER_DATA}/link/secrets/x",
    ],
)
def test_no_path_leads_to_secrets(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/proc")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/link").symlink_to("/run")
    with pytest.raises(ProblemError, match=r"classes: .* is below /proc or /run/secrets, where no data are"):
        expanded(path, "classes")


def test_a_path_that_is_none_is_told_and_one_that_leads_nowhere_is_given(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="has a NUL in it"):
        expanded("a\0b", "path")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert expanded(f"{tmp_path}/round", "path") == f"{tmp_path}/round"


def test_what_the_operator_allows_is_expanded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_EXPAND", "MODELS, OTHER")
    monkeypatch.setenv("MODELS", "/models/${POSTGRES_URL}")
    assert expanded("local-dir:${MODELS}/x", "path") == "local-dir:/models/${POSTGRES_URL}/x"
    with pytest.raises(MissingError, match="the environment has no OTHER"):
        expanded("${OTHER}", "path")


PLACES = [
    "${SWEEPER_DATA}/gone",
    "${SWEEPER_DATA}",
    "${SWEEPER_DATA}/{split}/gone",
    "~/gone",
    "gone/there",
    "${POSTGRES_URL}/x",
]


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    "kind", ["folder", "torchvision", "pairs", "classes", "timm", "open_clip", "local-dir"]
)
def test_messages_name_paths_as_they_are_written(
    kind: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = SOURCE.model_copy(update={"path": path})
    models = {
        "timm": {"library": "timm", "name": "tiny-dino", "pretrained": path},
        "open_clip": {"library": "open_clip", "name": "tiny-clip", "pretrained": path},
        "local-dir": {"library": "open_clip", "name": "tiny-clip", "pretrained": f"local-dir:{path}"},
    }
    with pytest.raises(ProblemError) as told:
        match kind:
            case "folder" | "torchvision":
                load_task(source.model_copy(update={"source": kind}), SMALL)
            case "pairs":
                load_pairs(source, SMALL)
            case "classes":
                load_task(source.model_copy(update={"source": "digits", "classes": path}), SMALL)
            case _:
                open_backbone(**models[kind])
    message = str(told.value)
    assert path.replace("{split}", "train") in message or path.partition("/")[0] in message
    assert str(tmp_path) not in message and "planted-secret" not in message


def test_folders_beside_and_below_are_named_as_written_too(tmp_path: Path) -> None:
    spelling = Spelling.of("${SWEEPER_DATA}/coco/val.csv", "~/names.txt", None, ("cat", "dog"))
    data, home = tmp_path / "hidden", tmp_path / "home-of-someone"
    text = f"{data}/coco/val.csv:3: no such picture: {data}/coco/a.png, {data}/b, {home}/names.txt; {data}x"
    assert spelling.restored(text) == (
        "${SWEEPER_DATA}/coco/val.csv:3: no such picture: ${SWEEPER_DATA}/coco/a.png, ${SWEEPER_DATA}/b, "
        f"~/names.txt; {data}x"
    )


def test_a_picture_that_is_read_later_elsewhere_is_named_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hidden" / "cats"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"no picture")
    pictures = AsWritten(file_pictures(folder, [folder / "a.png"]), Spelling.of("${SWEEPER_DATA}/cats"))
    monkeypatch.delenv("SWEEPER_DATA")  # as on a worker
    with pytest.raises(ProblemError) as told:
        pictures.chosen(np.array([0])).open(0)
    assert str(told.value).startswith("path: ${SWEEPER_DATA}/cats/a.png cannot be read as a picture")
    assert str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("path", ["/proc/self/environ", "${SWEEPER_DATA}/secrets"])
def test_what_a_file_holds_is_never_shown(path: str, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "secrets").write_text(f"POSTGRES_URL={SECRET}\n")
    named = {"source": "digits", "classes": path, "path": None}
    for load, update in ((load_pairs, {"path": path}), (load_task, named)):
        with pytest.raises(ProblemError) as told:
            load(SOURCE.model_copy(update=update), SMALL)
        assert "planted-secret" not in str(told.value) and "PATH=" not in str(told.value)
