"""A space as a value: its dump, its flat form, a trial's and a baseline's."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from search_spaces import METHODS, PACKABLE, Space, SpaceError, Training, json_schema, load_space, parse_space
from search_spaces.settings import Settings

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"

RICH = [
    "sweep='1e3'",
    "method.alpha=8",
    "search.parameters={method.alpha: {choices: [null, 8]}, training.lr: {low: 1e-5, high: 1e-2, log: true}}",
    "baselines=[full, {method: lora, label: '12', set: {method.alpha: null, method.blocks: [qkv]}}]",
    "data.probes.0.name='null'",
    "budget={active_blocks: 3, rule: exactly, tolerance: 1}",
    "confirm={trials: 2}",
    "method.mask=[image.0.qkv]",
]


def shipped(overrides: list[str]) -> Space:
    """The shipped space, with a sampler that asks for no price, and changes."""
    return load_space(SHIPPED, ["search.sampler=tpe", *overrides])


@pytest.fixture
def space() -> Space:
    return load_space(SHIPPED)


@pytest.mark.parametrize("overrides", [[], RICH])
def test_a_dump_is_plain_and_gives_the_space_again(overrides: list[str], tmp_path: Path) -> None:
    space = shipped(overrides)
    assert parse_space(space.dump()) == space
    assert parse_space(json.loads(json.dumps(space.dump()))) == space
    (tmp_path / "again.yaml").write_text(space.to_yaml())
    assert load_space(tmp_path / "again.yaml") == space


def test_a_dump_survives_other_yaml_writers(space: Space) -> None:
    assert parse_space(yaml.safe_load(yaml.safe_dump(space.dump()))) == space


def test_a_dump_uses_the_names_of_the_file(space: Space) -> None:
    data = space.dump()
    assert data["method"]["lambda"] == 0.3
    assert data["baselines"][0] == {"method": "zero_shot", "label": "zero_shot", "set": {}, "each": {}}
    assert data["search"]["parameters"]["method.rank"] == {"choices": [1, 2, 4, 8, 16]}


def test_the_shipped_space_says_what_it_is_for(space: Space) -> None:
    assert [s.label for s in space.data.ood] == [
        f"digits-{s}" for s in ("inverted", "rotated", "blurred", "noisy")
    ]
    assert space.budget.count(32) == 2
    assert space.packable
    assert [b.label for b in space.baselines] == ["zero_shot", "linear", "full", "block_expansion", "lora"]


def test_parse_space_names_every_mistake(space: Space) -> None:
    data = space.dump()
    data["search"]["trials"] = 0
    data["method"]["rnk"] = 1
    with pytest.raises(SpaceError) as told:
        parse_space(data)
    assert str(told.value).split("\n") == [
        "method.rnk: unknown key; did you mean 'rank'?",
        "search.trials: must be at least 1, got 0",
    ]
    with pytest.raises(SpaceError, match="a mapping of its sections"):
        parse_space(["sweep"])  # type: ignore[arg-type]


def test_a_space_cannot_be_changed(space: Space) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        space.sweep = "other"  # type: ignore[misc]


def test_flat_has_one_scalar_for_every_dotted_name(space: Space) -> None:
    flat = space.flat()
    assert all(isinstance(value, bool | int | float | str) for value in flat.values())
    assert flat["method.lambda"] == 0.3
    assert flat["method.blocks"] == "qkv,proj,fc1,fc2"
    assert flat["data.id"] == "digits"
    assert flat["data.probes"] == "glyphs,glyph_colors"
    assert flat["budget.active_fraction"] == 0.0625
    assert flat["search.trials"] == 16
    assert flat["resources.pack"] == "auto"
    assert "method.alpha" not in flat and "budget.active_blocks" not in flat


def test_the_limit_and_the_resources_of_a_trial_are_part_of_every_form(tmp_path: Path) -> None:
    asked = ["resources.minutes_per_trial=30", "resources.custom={'accelerator_type:A100': 1, gold: 0.5}"]
    space = shipped(asked)
    custom = {"accelerator_type:A100": 1.0, "gold": 0.5}
    assert (space.resources.minutes_per_trial, space.resources.custom) == (30.0, custom)
    assert space.flat()["resources.minutes_per_trial"] == 30.0
    assert space.flat()["resources.custom"] == "accelerator_type:A100=1,gold=0.5"
    jsonschema.validate(space.dump(), json_schema())
    (tmp_path / "again.yaml").write_text(space.to_yaml())
    assert load_space(tmp_path / "again.yaml") == space == parse_space(json.loads(json.dumps(space.dump())))
    trial = space.with_values({"method.rank": 2})
    assert trial.dump()["resources"] == space.dump()["resources"]


def test_no_limit_and_no_other_resources_are_not_told(space: Space) -> None:
    assert (space.resources.minutes_per_trial, space.resources.custom) == (None, {})
    assert not {"resources.minutes_per_trial", "resources.custom"} & space.flat().keys()


def test_with_values_is_the_space_of_a_trial(space: Space) -> None:
    trial = space.with_values({"method.lambda": 1.5, "method.rank": 8, "training.lr": 1})
    assert (trial.flat()["method.lambda"], trial.flat()["method.rank"], trial.training.lr) == (1.5, 8, 1.0)
    assert trial.search == space.search
    assert space.flat()["method.lambda"] == 0.3


def test_with_values_settles_which_blocks_are_open(space: Space) -> None:
    sets = ["budget={active_blocks: 2, mode: mask}", "search.parameters={}", "confirm={trials: 2, seeds: 3}"]
    swept = shipped(sets)
    masked = swept.with_values({"method.mask": ("image.0.qkv", "image.7.fc2")})
    assert masked.flat()["method.mask"] == "image.0.qkv,image.7.fc2"
    assert masked == swept.with_values({"method.mask": ["image.0.qkv", "image.7.fc2"]})
    assert swept.with_values({"method.active_blocks": 2}).flat()["method.active_blocks"] == 2
    assert (swept.budget.mode, masked.budget.mode, masked.confirm) == ("mask", "search", None)
    assert parse_space(json.loads(json.dumps(masked.dump()))) == masked
    controlled = shipped([*sets, "budget.mode=controlled", "method.active_blocks=2"])
    assert controlled.with_values({"method.rank": 1}).budget == controlled.budget
    assert controlled.with_values({"method.rank": 1}).flat()["method.active_blocks"] == 2


@pytest.mark.parametrize(
    "sets",
    [
        ["budget={active_blocks: 2, mode: controlled}", "search.parameters={}"],
        ["budget={active_blocks: 2, mode: mask}", "search.parameters={}"],
        ["budget={active_blocks: 2, rule: exactly, tolerance: 1}", "search.sampler=budget"],
    ],
    ids=str,
)
def test_a_baseline_is_not_held_to_the_budget(sets: list[str]) -> None:
    space = shipped([*sets, "baselines=[full, taps]", "confirm={}"])
    for label in ("full", "taps"):
        run = space.for_baseline(label)
        assert (run.budget.mode, run.budget.tolerance, run.budget.active_blocks) == ("search", 0, 2)
        assert (run.confirm, run.search.sampler) == (None, "tpe")


def test_a_grid_stays_the_sampler_of_a_baseline() -> None:
    """What the tracker has been told of a baseline must not change when a sweep goes on."""
    grid = ["search.sampler=grid", "search.parameters={method.rank: {choices: [1, 2]}}"]
    assert shipped(grid).for_baseline("full").search.sampler == "grid"


def test_a_confirmation_is_flat() -> None:
    confirmed = shipped(["confirm={trials: 2, seeds: 3}"])
    added = {"confirm.trials": 2, "confirm.seeds": 3}
    assert confirmed.flat() == shipped([]).flat() | added


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method.rank": 0}, "method.rank: must be at least 1, got 0"),
        ({"method.rnk": 1}, "method.rnk: unknown key; did you mean 'rank'?"),
        ({"method.rank.x": 1}, "method.rank: is 4, which has no 'x' in it"),
        ({"training.lr": "fast"}, "training.lr: expects a number, got 'fast'"),
    ],
)
def test_with_values_refuses_what_is_no_setting(space: Space, values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError) as told:
        space.with_values(values)
    assert str(told.value) == message


def test_for_baseline_runs_the_method_with_its_own_defaults() -> None:
    changed = "baselines=[zero_shot, {method: lora, label: small, set: {method.rank: 2, training.lr: 5e-4}}]"
    space = shipped([changed, "method.blocks=[qkv]", "resources.pack=4", "training.epochs=3"])
    small = space.for_baseline("small")
    assert (small.method.name, small.flat()["method.rank"], small.training.lr) == ("lora", 2, 5e-4)
    assert small.flat()["method.blocks"] == "qkv,proj,fc1,fc2"
    assert small.training.epochs == 3
    assert (small.search.parameters, small.baselines, small.resources.pack) == ({}, (), 1)
    assert space.for_baseline("zero_shot").method.dump() == {"name": "zero_shot"}
    with pytest.raises(SpaceError, match=r"no baseline is labelled 'smal'; did you mean 'small'\?"):
        space.for_baseline("smal")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_as_a_baseline(method: str) -> None:
    space = shipped([f"baselines=[{method}]"])
    assert space.for_baseline(method).method.name == method


@pytest.mark.parametrize(
    ("overrides", "packable"),
    [
        (["search.parameters={method.rank: {low: 1, high: 3}}"], True),
        (["search.parameters={training.epochs: {low: 1, high: 3}}"], False),
        (["search.parameters={}"], True),
        (["search.parameters={training.seed: {low: 1, high: 3}}", "method={name: lora}"], True),
        (["search.parameters={training.seed: {low: 1, high: 3}}", "method={name: full}"], False),
    ],
)
def test_packable_means_that_a_pack_may_vary_all_that_is_searched(
    overrides: list[str], packable: bool
) -> None:
    assert shipped(overrides).packable is packable


def test_every_packable_path_is_a_setting() -> None:
    known = set()
    for name in ("selective_lora", "adalora", "codyra"):
        paths = PACKABLE & Settings(METHODS[name](name=name), Training()).fields.keys()
        known |= paths
        searched = ", ".join(f"{path}: {{choices: [1]}}" for path in sorted(paths - {"method.mask"}))
        overrides = [f"method={{name: {name}}}", f"search.parameters={{{searched}}}", "resources.pack=3"]
        assert shipped(overrides).packable
    assert known == PACKABLE


def test_the_json_schema_accepts_what_loads_and_refuses_a_wrong_name(space: Space) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    written = yaml.safe_load(SHIPPED.read_text())
    jsonschema.validate(written, schema)
    jsonschema.validate(space.dump(), schema)
    jsonschema.validate(shipped(RICH).dump(), schema)
    written["search"]["smapler"] = "tpe"
    with pytest.raises(jsonschema.ValidationError, match="smapler"):
        jsonschema.validate(written, schema)


def test_every_field_of_the_json_schema_is_described() -> None:
    schema = json_schema()
    parts = [schema, *(part for part in schema["$defs"].values())]
    fields = [(part.get("title"), *field) for part in parts for field in part.get("properties", {}).items()]
    assert len(fields) > 40
    assert [(title, name) for title, name, field in fields if not field.get("description")] == []
