"""A status that is drawn again until there is nothing more to see."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from workplace import REPOSITORY, Workplace

from search_spaces import load_space
from sweeper.commands import watch
from sweeper.commands.local import Local
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import only_driver
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy

BLOCKS = tuple(f"image.{layer}.qkv" for layer in range(32))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PERIOD", 0.0)


def shown(look: watch.Look, capsys: pytest.CaptureFixture[str]) -> str:
    watch.redraw(look, Console(file=io.StringIO(), force_terminal=True))
    return capsys.readouterr().out


def test_it_is_shown_until_the_end_as_wide_as_status_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["sweep=mine", "search.trials=2", "baselines=[]"]
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", given)
    folder = SweepFolder("mine")
    folder.remember(None, "mine", "its-id")
    study = SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, folder.journal), sweep_id="its-id")
    look = Local(None).view("mine")

    def look_and_train() -> tuple[Callable[[], None], bool]:
        seen = look()
        if job := study.next_trial():
            metrics = {"id_accuracy": 90.0, "forgetting": 5.0, "active_blocks": 2}
            study.tell({"key": job.key, "state": "complete", "metrics": metrics, "active": BLOCKS[:2]})
        return seen

    with only_driver("mine", folder.path, None):
        screen = shown(look_and_train, capsys)
    assert all(f"mine: {done}/2 done" in screen for done in range(3))
    # Without a terminal it is printed once.
    once = Workplace(tmp_path).sweeper("status", "mine", "--watch")
    assert (
        once.count("mine: 2/2 done") == 1
        and once.splitlines() == screen.splitlines()[-len(once.splitlines()) :]
    )


def test_a_sweep_whose_driver_is_gone_is_told_so_and_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", ["sweep=left", "baselines=[]"])
    folder = SweepFolder("left")
    folder.remember(None, "left", "its-id")
    study = SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, folder.journal), sweep_id="its-id")
    study.next_trial()
    resume = "no driver runs; go on with: python -m sweeper resume left"
    told = shown(Local(None).view("left"), capsys)
    assert told.count(resume) == 1 and "Under way" in told
    output = Workplace(tmp_path).sweeper("enqueue", "left", "method.rank=4")
    assert output == "trial-0001 waits, and begins at: python -m sweeper resume left\n"
    with only_driver("left", folder.path, None):
        output = Workplace(tmp_path).sweeper("status", "left")
        assert "no driver" not in output and "Under way" in output


def test_a_person_ends_it_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def looks() -> Iterator[tuple[Callable[[], None], bool]]:
        yield lambda: print("first"), False
        raise KeyboardInterrupt

    seen = looks()
    assert "first" in shown(lambda: next(seen), capsys)
