"""The spaces that ship: checked anywhere, refused in one message where weights or data are missing."""

from pathlib import Path

import pytest
from workplace import REPOSITORY, Workplace

from search_spaces import load_space
from sweeper.cli import _LOADING
from sweeper.driver.fit import check_budget
from sweeper.driver.pictures import OPENING
from sweeper.errors import UserError

SPACES = REPOSITORY / "spaces"
BLOCKS = {
    "clip_lambda": (32, "at most 2 of 32 blocks (6.25 %)"),
    "clip_budget": (32, "at most 2 of 32 blocks (6.25 %)"),
    "clip_rivals": (32, "at most 2 of 32 blocks (6.25 %)"),
    "clip_path": (32, "at most 2 of 32 blocks (6.25 %)"),
    "dino_lambda": (32, "at most 2 of 32 blocks (6.25 %)"),
    "clip_vit_b16_imagenet": (96, "at most 6 of 96 blocks (6.25 %)"),
    "dino_vit_b16_cifar100": (48, "at most 3 of 48 blocks (6.25 %)"),
    "pacs_sketch": (48, "at most 3 of 48 blocks (6.25 %)"),
}
IN_A_FOLDER = "two_tower_pacs"  # whose model has its configuration with it
AWAY = ("clip_vit_b16_imagenet", "dino_vit_b16_cifar100", "pacs_sketch")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.delenv("SWEEPER_DATA", raising=False)
    return Workplace(tmp_path)


def test_every_space_is_spoken_of() -> None:
    assert {*BLOCKS, IN_A_FOLDER} == {path.stem for path in SPACES.glob("*.yaml")}


@pytest.mark.parametrize("name", BLOCKS)
def test_validate_needs_neither_weights_nor_data(place: Workplace, name: str) -> None:
    output = place.sweeper("validate", str(SPACES / f"{name}.yaml"))
    blocks, budget = BLOCKS[name]
    assert f"blocks: {blocks}\nbudget: {budget}\n" in output
    assert ("not on this machine yet, so `run` would refuse:" in output) == (name in AWAY)
    assert ("cost: about" in output) == (name not in AWAY)
    if name not in AWAY:
        said = ("mode: ", "opening the model", "pictures of id: train ", "timing a few steps", "cost: about")
        assert sorted(said, key=output.index) == list(said)


@pytest.mark.parametrize("name", AWAY)
def test_run_names_all_that_is_missing_before_anything_starts(place: Workplace, name: str) -> None:
    output = place.sweeper("run", str(SPACES / f"{name}.yaml"), status=2)
    assert "model." in output and "data.probes.0.path" in output
    assert "the environment has no SWEEPER_DATA; set it, or give the whole path with --set" in output
    loading, opening, *messages = output.strip().splitlines()
    assert (loading, opening) == (_LOADING, OPENING)
    assert "Traceback" not in output and len(messages) <= 2
    assert not (place.folder / "sweeps").exists() and not (place.folder / "mlflow.db").exists()


def test_a_missing_file_is_named_with_its_key(place: Workplace) -> None:
    sets = ["--set", "model.file=/no/such/vit.safetensors"]
    output = place.sweeper("run", str(SPACES / "pacs_sketch.yaml"), *sets, status=2)
    assert "model.file: there is no file '/no/such/vit.safetensors'" in output


def test_layers_that_the_model_has_not_are_refused(place: Workplace) -> None:
    sets = ["--set", "baselines=[{method: top_k, set: {method.layers: 9}}]"]
    output = place.sweeper("run", str(SPACES / "clip_lambda.yaml"), *sets, status=2)
    refusal = "baselines: top_k: method.layers: 9 are asked for, the model has 8"
    assert output == f"{_LOADING}\n{OPENING}\n{refusal}\n"


ALONE = "search.parameters={}"
CONTROLLED = "budget={active_fraction: 0.0625, mode: controlled}"
NEAR = "budget={active_fraction: 0.0625, rule: exactly, tolerance: 1}"
THREE = "method.mask=[image.0.qkv, image.0.proj, image.0.fc1]"
UNMET = [
    (
        (ALONE, CONTROLLED, "method.active_blocks=3"),
        "method.active_blocks: 3 is not the budget, which is 2 of 32 blocks; "
        "leave it out, mode controlled sets it",
    ),
    (
        (ALONE, "method.active_blocks=3"),
        "method.active_blocks: leaves 3 blocks open, and the budget is at most 2 of 32, "
        "so no trial would meet it; change one of the two",
    ),
    (
        (ALONE, THREE, "budget.rule=exactly"),
        "method.mask: leaves 3 blocks open, and the budget is exactly 2 of 32, "
        "so no trial would meet it; change one of the two",
    ),
    (
        (ALONE, "method={name: random_blocks, active_blocks: 3}"),
        "method.active_blocks: random_blocks opens 3 blocks, and the budget is at most 2 of 32, "
        "so none of its trials would meet it; change one of the two",
    ),
    (
        ("method.active_blocks=2",),
        "search.parameters.method.lambda: has no effect, since method.active_blocks settles which blocks "
        "are open; remove one of the two",
    ),
    (
        (NEAR, "budget.tolerance=2"),
        "budget.tolerance: 2 fewer than 2 would let zero active blocks be inside the budget; use at most 1",
    ),
    (
        ("budget.active_fraction=0.01",),
        "budget.active_fraction: 0.01 of 32 blocks is 0.32, which rounds to none; "
        "use active_blocks: 1 or a larger fraction",
    ),
]


@pytest.mark.parametrize(("sets", "message"), UNMET, ids=[entry[1][:60] for entry in UNMET])
def test_what_cannot_meet_the_budget_is_told_with_its_numbers(sets: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as told:
        check_budget(load_space(SPACES / "clip_lambda.yaml", ["search.sampler=tpe", *sets]), 32)
    assert str(told.value) == message


@pytest.mark.parametrize(
    "sets",
    [
        (ALONE, CONTROLLED),
        (ALONE, CONTROLLED, "method.active_blocks=2"),
        (ALONE, NEAR, THREE),
        (ALONE, "method.active_blocks=1"),
        ("method.active_blocks=9", "search.parameters={method.active_blocks: {choices: [1, 2]}}"),
        (ALONE, "budget={active_fraction: 0.0625, mode: mask}"),
        (ALONE, "method={name: random_blocks, active_blocks: 2}"),
    ],
    ids=" ".join,
)
def test_what_can_meet_the_budget_is_let_through(sets: tuple[str, ...]) -> None:
    assert check_budget(load_space(SPACES / "clip_lambda.yaml", ["search.sampler=tpe", *sets]), 32) == 2


def test_a_model_in_a_folder_is_looked_for_there(place: Workplace) -> None:
    space = str(SPACES / f"{IN_A_FOLDER}.yaml")
    output = place.sweeper("validate", space, status=2)
    assert "model.name: the environment has no SWEEPER_DATA" in output or "open_clip_config.json" in output
    there = "model={library: open_clip, name: ViT-B-32, pretrained: laion2b_s34b_b79k}"
    output = place.sweeper("validate", space, "--set", there)
    assert "blocks: 48\nbudget: at most 3 of 48 blocks (6.25 %)\nmode: path" in output
