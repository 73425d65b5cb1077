"""A shell that completes words, asked as bash asks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWEEPER = Path(sys.executable).with_name("sweeper")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("sweeper sub", ["submit"]),
        ("sweeper status cl", ["clip", "clip_path"]),
        ("sweeper export clip_", ["clip_path"]),
        ("sweeper report clip o", ["other"]),
        ("sweeper status [", []),
    ],
)
def test_commands_and_the_sweeps_of_this_folder_are_completed(
    tmp_path: Path, words: str, completed: list[str]
) -> None:
    for name in ("clip", "clip_path", "other"):
        (tmp_path / "sweeps" / name).mkdir(parents=True)
        (tmp_path / "sweeps" / name / "sweep.json").touch()
    (tmp_path / "sweeps" / "clip_no_sweep").mkdir()
    asked = {"_SWEEPER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    answer = subprocess.run(
        [SWEEPER], cwd=tmp_path, env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == completed
