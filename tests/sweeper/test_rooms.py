"""The imports between the rooms of `sweeper` run one way."""

import ast
from pathlib import Path

import sweeper

# From the ground up: a room imports itself and those before it.
ROOMS = (
    ("errors", "formats", "screen", "startup"),
    ("storage",),
    ("search",),
    ("study",),
    ("report", "tracking"),
    ("export",),
    ("driver",),
    ("api", "service"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def test_no_import_runs_back_up() -> None:
    root = Path(sweeper.__file__).parent
    seen = set()
    for file in root.rglob("*.py"):
        room = file.relative_to(root).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sweeper."):
                other = str(node.module).split(".")[1]
                seen.add((room, other))
    upwards = {pair for pair in seen if pair[0] != pair[1] and FLOOR[pair[1]] >= FLOOR[pair[0]]}
    assert not upwards
    assert {("study", "search"), ("cli", "commands")} <= seen
