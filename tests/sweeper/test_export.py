"""Taking trials of a real sweep away and measuring them again, by the command line."""

import json
import re
from pathlib import Path

import pytest
from workplace import REPOSITORY, SMALL, Workplace, trials

from trainables.backbones.tiny_clip import WEIGHTS

pytestmark = pytest.mark.slow

SPACE = ["--space", str(REPOSITORY / "spaces" / "clip_lambda.yaml")]
SETS = [argument for override in SMALL for argument in ("--set", override)]


def export(place: Workplace, to: Path, *arguments: str, status: int = 0) -> str:
    return place.sweeper("export", "clip_lambda", "--to", str(to), *arguments, status=status)


def measured(place: Workplace, path: Path) -> dict[str, list[str]]:
    """The rows of the table: validation before and after, test before and after."""
    output = place.sweeper("evaluate", str(path), *SPACE, *SETS)
    figures_alone = re.sub(r" ± [\d.]+", "", output)
    rows = re.findall(r"^ ?(\S.*?) {2,}(\S+) +(\S+) +(\S+) +(\S+) *$", figures_alone, re.MULTILINE)
    return {name: figures for name, *figures in rows}


@pytest.mark.parametrize("form", ["peft", "merged", "adapter"])
def test_the_recommended_trial_measures_as_it_did(finished: Workplace, tmp_path: Path, form: str) -> None:
    to = tmp_path / "not there" / "yet"
    said = export(finished, to, "--format", form)
    key = re.search(r"exported (\S+) as", said)
    assert key is not None
    trial = trials(finished).loc[key[1]]
    rows = measured(finished, to)
    for row, metric in {"ID accuracy %": "id_accuracy", "forgetting pp": "forgetting"}.items():
        _, after, _, test_after = map(float, rows[row])
        assert after == pytest.approx(trial[metric], abs=0.006)
        assert test_after == pytest.approx(trial[f"test/{metric}"], abs=0.006)
    assert {"ood/digits-inverted %", "OOD accuracy %", "probe/glyphs %", "retained accuracy %"} <= rows.keys()
    assert [path.name for path in to.parent.iterdir()] == ["yet"]


def test_trials_and_baselines_are_named(finished: Workplace, tmp_path: Path) -> None:
    for trial in trials(finished).query("role == 'trial' and state == 'complete'").itertuples():
        to = tmp_path / trial.Index
        export(finished, to, "--format", "adapter", "--trial", str(trial.label))
        card = json.loads((to / "adapter.json").read_text())
        assert card["method"]["name"] == "selective_lora"
        assert card["metrics"]["loss"] == pytest.approx(trial.loss)

    for label in ("zero_shot", "linear"):
        export(finished, tmp_path / label, "--format", "merged", "--trial", label)
        card = json.loads((tmp_path / label / "export.json").read_text())
        assert card["method"]["name"] == label and card["active_blocks"] == []


def test_a_merged_model_is_one_that_a_space_can_name(finished: Workplace, tmp_path: Path) -> None:
    export(finished, tmp_path / "merged", "--format", "merged")
    for setting in ("pretrained", "file"):
        arguments = [*SPACE[1:], *SETS, "--set", f"model.{setting}={tmp_path}/merged/model.safetensors"]
        assert "cost: about" in finished.sweeper("validate", *arguments)


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(finished: Workplace, tmp_path: Path) -> None:
    to = tmp_path / "to"
    frame = trials(finished)
    there = ", ".join(frame.query("state == 'complete'").label)
    (failed,) = frame.query("state == 'failed'").label
    refusals = {
        ("--trial", "7"): f"--trial 7: there is none; there are {there}",
        ("--trial", failed): f"--trial {failed}: it is failed; complete are {there}",
        ("--trial", "linear"): "format: linear has no low-rank updates, which peft needs; use merged",
    }
    for arguments, text in refusals.items():
        assert text in export(finished, to, "--format", "peft", *arguments, status=2)
        assert not list(tmp_path.iterdir())
    to.mkdir()
    (to / "mine.txt").touch()
    assert "it is in use" in export(finished, to, "--format", "merged", status=2)
    assert [path.name for path in to.iterdir()] == ["mine.txt"]
    assert "there is no sweep 'nowhere'" in finished.sweeper(
        "export", "nowhere", "--to", str(tmp_path / "x"), "--format", "merged", status=2
    )


def test_anothers_checkpoint_is_measured_or_refused(finished: Workplace, tmp_path: Path) -> None:
    rows = measured(finished, WEIGHTS)
    assert all((row[0], row[2]) == (row[1], row[3]) for row in rows.values())
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    refused = finished.sweeper("evaluate", str(tmp_path / "broken.pt"), *SPACE, *SETS, status=2)
    assert "cannot be read as a checkpoint" in refused
