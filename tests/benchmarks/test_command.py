import sys

import pytest

from benchmarks._command import command


def test_a_command_is_told_without_the_folders_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["--only", "evaluation, tiny-clip", "--out", "/somewhere", "--rounds", "1", "--work", "/else"]
    monkeypatch.setattr(sys, "argv", ["levers.py", *asked])
    assert command("levers") == "python -m benchmarks.levers --only 'evaluation, tiny-clip' --rounds 1"
