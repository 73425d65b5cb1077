"""Baselines over several values of a setting."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from search_spaces import Space, SpaceError, json_schema, load_space, parse_space

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
QV = (
    "{method: lora, label: lora_qv, set: {method.rank: 4}, "
    "each: {training.lr: [5e-5, 3e-4], method.alpha: [null, 8]}}"
)


def with_baselines(*baselines: str) -> Space:
    return load_space(SHIPPED, [f"baselines=[{', '.join(baselines)}]"])


def test_a_baseline_stands_for_one_run_a_combination_in_order() -> None:
    space = with_baselines("zero_shot", "{method: full, each: {training.lr: [5.0e-5, 3.0e-4]}}", QV)
    assert [run.label for run in space.baseline_runs] == [
        "zero_shot",
        "full-lr-5e-5",
        "full-lr-3e-4",
        "lora_qv-lr-5e-5-alpha-null",
        "lora_qv-lr-5e-5-alpha-8",
        "lora_qv-lr-3e-4-alpha-null",
        "lora_qv-lr-3e-4-alpha-8",
    ]
    assert [run.group for run in space.baseline_runs] == ["zero_shot", *["full"] * 2, *["lora_qv"] * 4]
    last = space.baseline_runs[-1]
    assert last.method == "lora"
    assert last.varied == {"training.lr": 3e-4, "method.alpha": 8}
    assert last.changes == {"method.rank": 4, **last.varied}
    assert space.baseline_runs[0].varied == space.baseline_runs[0].changes == {}


def test_for_baseline_is_the_space_of_one_run() -> None:
    space = with_baselines(QV)
    run = space.for_baseline("lora_qv-lr-3e-4-alpha-8")
    assert (run.training.lr, run.flat()["method.rank"], run.flat()["method.alpha"]) == (3e-4, 4, 8)
    assert "method.alpha" not in space.for_baseline("lora_qv-lr-3e-4-alpha-null").flat()
    with pytest.raises(SpaceError, match="no baseline is labelled 'lora_qv'; known: lora_qv-lr-5e-5-al"):
        space.for_baseline("lora_qv")


@pytest.mark.parametrize(
    "value", [1, 16, 0.5, 0.05, 1.0, 100.0, 1.5e-4, 3e-4, 1e-30, 1.25e30, 123456.789, 0.1 + 0.2, 2_000_000]
)
def test_a_number_in_a_label_is_fit_for_a_file_and_exact(value: float) -> None:
    (run,) = with_baselines(f"{{method: full, each: {{training.lr: [{value}]}}}}").baseline_runs
    assert NAME.fullmatch(run.label)
    assert float(run.label.removeprefix("full-lr-")) == value


def test_text_in_a_label_is_fit_for_a_file() -> None:
    space = with_baselines("{method: selective_lora, each: {method.penalty: [mean, sum]}}")
    assert [run.label for run in space.baseline_runs] == [
        "selective_lora-penalty-mean",
        "selective_lora-penalty-sum",
    ]


def test_a_dump_keeps_baselines_as_they_are_written() -> None:
    space = with_baselines("linear", QV)
    assert len(space.baselines) == 2
    assert space.dump()["baselines"][1]["each"] == {"training.lr": [5e-5, 3e-4], "method.alpha": [None, 8]}
    assert parse_space(json.loads(json.dumps(space.dump()))) == space
    assert parse_space(yaml.safe_load(space.to_yaml())).baseline_runs == space.baseline_runs
    jsonschema.validate(space.dump(), json_schema())


MISTAKES = [
    ("{method: full, each: {training.lrr: [1]}}", "2.each.training.lrr: unknown path; did you mean 'tra"),
    ("{method: full, each: {method.rank: [1]}}", "2.each.method.rank: unknown path for the method full"),
    ("{method: full, each: {training.lr: [1, -1]}}", "2.each.training.lr.1: must be above 0, got -1"),
    ("{method: full, each: {training.lr: [x]}}", "2.each.training.lr.0: expects a number, got 'x'"),
    ("{method: full, each: {training.lr: []}}", "2.each.training.lr: must not be empty"),
    ("{method: full, each: {training.lr: 1}}", "2.each.training.lr: expects a list, got 1"),
    ("{method: full, each: {training.lr: [[1]]}}", "2.each.training.lr.0: expects one value (text, a num"),
    ("{method: full, each: {training.lr: [1, 1.0]}}", "2.each.training.lr.1: 1.0 is given twice; remove one"),
    (
        "{method: full, set: {training.lr: 1}, each: {training.lr: [1, 2]}}",
        "2.each.training.lr: is under set too; remove one of the two",
    ),
    ("{method: full, each: 3}", "2.each: expects a mapping, got 3"),
    ("{method: full, eahc: {}}", "2.eahc: unknown key; did you mean 'each'?"),
    ("{method: linear, each: {training.lr: [1e-3]}}", "2: the label 'linear' is used twice; give one of the"),
    (
        "{method: full, label: linear-lr, each: {training.epochs: [1], training.lr: [1]}}",
        "2: the label 'linear-lr-epochs-1-lr-1' is used twice; give one of the two another label",
    ),
    (
        f"{{method: full, label: {'x' * 60}, each: {{training.lr: [1]}}}}",
        f"2.label: a run would be labelled '{'x' * 60}-lr-1', longer than 64; give a shorter label",
    ),
    (
        f"{{method: full, each: {{training.seed: {[*range(101)]}, training.epochs: {[*range(1, 11)]}}}}}",
        "2.each: stands for 1010 runs, more than 1000; use fewer values",
    ),
    (
        "{method: selective_lora, each: {method.threshold: [0.1, 0.5], training.lr: [1, 2]}}",
        "2.set.method.initial_score: 0.15 is below the threshold 0.5, so every block would start closed",
    ),
]


@pytest.mark.parametrize(("baseline", "message"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_is_named_where_it_was_written(baseline: str, message: str, tmp_path: Path) -> None:
    others = "  - {method: linear, label: linear-lr-epochs-1-lr-1}\n  - {method: linear}\n"
    file = tmp_path / "space.yaml"
    text = SHIPPED.read_text()
    before, after = text.index("  - zero_shot"), text.index("\nresources:")
    file.write_text(f"{text[:before]}{others}  - {baseline}\n{text[after:]}")
    line = text[:before].count("\n") + 3
    with pytest.raises(SpaceError) as told:
        load_space(file)
    (only,) = str(told.value).split("\n")
    assert only.startswith(f"{file}:{line}: baselines.{message}")


def test_each_value_over_several_lines_has_its_own_line(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    written = "  - method: full\n    each:\n      training.lr:\n        - 1e-3\n        - 0\n"
    file = tmp_path / "space.yaml"
    file.write_text(text.replace("  - zero_shot\n", written))
    line = text[: text.index("  - zero_shot")].count("\n") + 5
    with pytest.raises(SpaceError, match=rf":{line}: baselines.0.each.training.lr.1: must be above 0"):
        load_space(file)


def test_old_dumps_without_each_still_load() -> None:
    data: dict[str, Any] = with_baselines("linear").dump()
    del data["baselines"][0]["each"]
    assert [run.label for run in parse_space(data).baseline_runs] == ["linear"]
