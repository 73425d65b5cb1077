"""A sweep of paths, from the command line to the exported points."""

import json
import re
from pathlib import Path

import pytest
from workplace import REPOSITORY, Workplace, trials

pytestmark = pytest.mark.slow

SPACE = str(REPOSITORY / "spaces" / "clip_lambda.yaml")
SETS = (
    "training.epochs=3",
    "training.batch_size=64",
    "data.ood=[]",
    "baselines=[linear]",
    "budget={active_blocks: 4, mode: path}",
    "method.path={counts: [32, 8, 4, 1]}",
    "search={trials: 2, parameters: {training.lr: {choices: [4e-3, 8e-3]}}}",
)
GIVEN = [argument for override in SETS for argument in ("--set", override)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("paths"))
    place.sweeper("run", SPACE, "--name", "paths", *GIVEN)
    return place


def test_every_point_is_told_and_those_inside_the_budget_make_the_front(paths: Workplace) -> None:
    found = trials(paths, "paths").query("role == 'trial'")
    assert list(found.active_blocks) == 2 * [32, 8, 4, 1]
    assert list(found.feasible) == 2 * [False, False, True, True]
    front = json.loads((paths.folder / "sweeps/paths/report/front.json").read_text())
    assert {trial["metrics"]["active_blocks"] for trial in front["front"]} <= {4, 1}
    page = (paths.folder / "sweeps/paths/report/index.html").read_text()
    assert "What one more block buys" in page


@pytest.mark.parametrize("blocks", [32, 4, 1])
@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_a_point_that_is_taken_away_measures_as_it_did(
    paths: Workplace, tmp_path: Path, form: str, blocks: int
) -> None:
    chosen = ("--trial", "1", "--blocks", str(blocks))
    said = paths.sweeper("export", "paths", "--to", str(tmp_path / "to"), "--format", form, *chosen)
    assert f"exported trial-0001-blocks-{blocks} as {form}" in said
    output = paths.sweeper("evaluate", str(tmp_path / "to"), "--space", SPACE, *GIVEN)
    rows = (re.split(r" {2,}", line.strip()) for line in output.splitlines())
    measured = {name: figures for name, *figures in rows if len(figures) == 4}
    point = trials(paths, "paths").loc[f"trial-0001-blocks-{blocks}"]
    for row, metric in {"ID accuracy %": "id_accuracy", "forgetting pp": "forgetting"}.items():
        # Accuracies have a standard error behind them.
        _, after, _, test_after = (float(figure.split()[0]) for figure in measured[row])
        assert after == pytest.approx(point[metric], abs=0.006)
        assert test_after == pytest.approx(point[f"test/{metric}"], abs=0.006)


def test_without_a_number_the_best_point_inside_the_budget_is_taken(paths: Workplace, tmp_path: Path) -> None:
    found = trials(paths, "paths").query("role == 'trial' and feasible and label.str.startswith('0 ')")
    best = (found.id_accuracy * found.retained_accuracy).idxmax()
    to = ("--to", str(tmp_path / "to"), "--format", "adapter")
    assert f"exported {best} as" in paths.sweeper("export", "paths", "--trial", "0", *to)
    said = paths.sweeper(
        "export", "paths", "--trial", "0", "--blocks", "3", *to[:1], f"{to[1]}2", *to[2:], status=2
    )
    assert "--blocks 3: trial 0 has no such point; it has points at 32, 8, 4, 1" in said
    said = paths.sweeper(
        "export", "paths", "--trial", "linear", "--blocks", "3", *to[:1], f"{to[1]}2", *to[2:], status=2
    )
    assert "trial linear has no such point; it is no path" in said


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("method.path={counts: [64, 4]}", "method.path.counts: 64 blocks are asked for, the model has 32"),
        ("training.batch_size=1000", "method.path: 4 counts need 4 steps of training, and there are 3"),
        (
            "budget={active_fraction: 0.0625, mode: path}",
            "method.path.counts: they are 32, 8, 4, 1, without the budget of 2 of 32 blocks; add it, or",
        ),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_path_that_cannot_be_gone_is_refused(
    paths: Workplace, command: str, override: str, text: str
) -> None:
    name = ("--name", "other") if command == "run" else ()
    assert text in paths.sweeper(command, SPACE, *name, *GIVEN, "--set", override, status=2)
