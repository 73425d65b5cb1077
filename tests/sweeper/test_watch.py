"""A status that is drawn again until there is nothing more to see."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from workplace import REPOSITORY, Workplace

from search_spaces import load_space
from sweeper.commands import watch
from sweeper.commands.local import Local
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

BLOCKS = tuple(f"image.{layer}.qkv" for layer in range(32))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PERIOD", 0.0)


def drawn(look: watch.Look) -> str:
    screen = io.StringIO()
    watch.redraw(look, Console(file=screen, force_terminal=True, width=200))
    return screen.getvalue()


def test_it_is_drawn_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["sweep=mine", "search.trials=2", "baselines=[]"]
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", given)
    folder = SweepFolder("mine")
    folder.remember(None, "mine", "its-id")
    study = SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, folder.journal), sweep_id="its-id")
    look = Local(None).view("mine")

    def look_and_train() -> tuple[RenderableType, bool]:
        seen = look()
        if job := study.next_trial():
            metrics = {"id_accuracy": 90.0, "forgetting": 5.0, "active_blocks": 2}
            study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": BLOCKS[:2]})
        return seen

    screen = drawn(look_and_train)
    assert all(f"mine: {done}/2 done" in screen for done in range(3))
    # Without a terminal it is printed once.
    assert Workplace(tmp_path).sweeper("status", "mine", "--watch").count("mine: 2/2 done") == 1


def test_a_person_ends_it_without_a_traceback() -> None:
    def looks() -> Iterator[tuple[RenderableType, bool]]:
        yield "first", False
        raise KeyboardInterrupt

    seen = looks()
    assert "first" in drawn(lambda: next(seen))
