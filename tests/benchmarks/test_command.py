import sys

import pytest

from benchmarks._command import command


def test_a_command_is_told_without_the_folders_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["--only", "kept memory", "--out", "/somewhere", "--rounds", "1", "--work", "/else"]
    monkeypatch.setattr(sys, "argv", ["levers.py", *asked])
    assert command("speed.levers") == "python -m benchmarks.speed.levers --only 'kept memory' --rounds 1"
