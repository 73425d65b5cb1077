import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "modules, absent",
    [
        (
            "trainables, trainables.methods, trainables.engine.checkpoint",
            ("ray", "optuna", "mlflow", "pydantic", "sweeper", "search_spaces"),
        ),
        ("search_spaces", ("torch", "open_clip", "ray", "mlflow", "sweeper", "trainables")),
    ],
)
def test_a_package_needs_no_more_than_its_room(modules: str, absent: tuple[str, ...]) -> None:
    script = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import {modules}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
