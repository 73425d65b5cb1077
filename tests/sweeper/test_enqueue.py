"""Trials that a person names while a sweep runs, or before it goes on."""

import subprocess
import sys
from pathlib import Path

import pytest
from workplace import REPOSITORY, Workplace

from search_spaces import load_space
from sweeper.api import UserError, load
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import only_driver
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

BLOCKS = tuple(f"image.{layer}.qkv" for layer in range(32))


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """Of a sweep that has begun nothing yet."""
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", ["sweep=mine", "search.trials=4"])
    folder = SweepFolder("mine", tmp_path)
    folder.remember(None, "mine", "its-id")
    SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, folder.journal), sweep_id="its-id")
    return folder


def test_by_the_command_line_and_from_python(folder: SweepFolder) -> None:
    place = Workplace(folder.home)
    with only_driver("mine", folder.path, None):
        output = place.sweeper("enqueue", "mine", "method.lambda=0.7", "method.rank=16")
        assert output == "trial-0000 waits, and begins next\n"
        assert load("mine", folder=folder.home).enqueue({"method.rank": 1}) == "trial-0001"
        study = SweepStudy("mine", open_storage(None, folder.journal))
        jobs = [study.next_trial() for _ in range(3)]
    values = [job.space.method.dump() for job in jobs if job]
    assert [(value["lambda"], value["rank"]) for value in values[:1]] == [(0.7, 16)]
    assert values[1]["rank"] == 1
    assert "is not among what is searched" in place.sweeper("enqueue", "mine", "method.rank=3", status=2)
    assert "there is no sweep 'min'" in place.sweeper("enqueue", "min", "method.rank=4", status=2)
    with pytest.raises(UserError, match=r"method\.alpha: is not searched"):
        load("mine", folder=folder.home).enqueue({"method.alpha": 1.0})


def test_what_a_killed_driver_has_left_half_written_is_mended_first(folder: SweepFolder) -> None:
    with folder.journal.open("ab") as journal:
        journal.write(b'{"op_code":4,"worker')
    Path(f"{folder.journal}.lock").symlink_to(folder.journal)
    sweep = load("mine", folder=folder.home)
    assert [sweep.enqueue(["method.rank=8"]), sweep.enqueue(["method.rank=2"])] == [
        "trial-0000",
        "trial-0001",
    ]
    assert [trial.state for trial in load("mine", folder=folder.home).record.trials] == ["waiting"] * 2


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("mine ", ["method.lambda=", "method.rank="]),
        ("mine method.lambda=1 method.rank=1", ["method.rank=1", "method.rank=16"]),
        ("mine method.rank=x", []),
        ("other method", []),
    ],
)
def test_a_shell_completes_what_is_searched(folder: SweepFolder, words: str, completed: list[str]) -> None:
    line = f"sweeper enqueue {words}"
    asked = {"_SWEEPER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    answer = subprocess.run(
        [Path(sys.executable).with_name("sweeper")],
        cwd=folder.home,
        env=Workplace(folder.home).environment | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == completed
