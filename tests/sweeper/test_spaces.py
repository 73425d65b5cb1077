"""The spaces that ship: checked anywhere, refused in one message where weights or data are missing."""

from pathlib import Path

import pytest
from workplace import REPOSITORY, Workplace

SPACES = REPOSITORY / "spaces"
BLOCKS = {
    "clip_lambda": (32, 2),
    "dino_lambda": (32, 2),
    "clip_vit_b16_imagenet": (96, 6),
    "dino_vit_b16_cifar100": (48, 3),
    "pacs_sketch": (48, 3),
}
AWAY = ("clip_vit_b16_imagenet", "dino_vit_b16_cifar100", "pacs_sketch")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.delenv("SWEEPER_DATA", raising=False)
    return Workplace(tmp_path)


def test_every_space_is_spoken_of() -> None:
    assert set(BLOCKS) == {path.stem for path in SPACES.glob("*.yaml")}


@pytest.mark.parametrize("name", BLOCKS)
def test_validate_needs_neither_weights_nor_data(place: Workplace, name: str) -> None:
    output = place.sweeper("validate", str(SPACES / f"{name}.yaml"))
    blocks, budget = BLOCKS[name]
    assert f"blocks: {blocks}\nbudget: at most {budget}\n" in output
    assert ("not on this machine yet, so `run` would refuse:" in output) == (name in AWAY)
    assert ("cost: about" in output) == (name not in AWAY)


@pytest.mark.parametrize("name", AWAY)
def test_run_names_all_that_is_missing_before_anything_starts(place: Workplace, name: str) -> None:
    output = place.sweeper("run", str(SPACES / f"{name}.yaml"), status=2)
    assert "model.pretrained" in output and "data.probes.0.path" in output
    assert "the environment has no SWEEPER_DATA; set it, or give the whole path with --set" in output
    assert "Traceback" not in output and len(output.strip().splitlines()) <= 2
    assert not (place.folder / "sweeps").exists() and not (place.folder / "mlflow.db").exists()


def test_a_missing_file_is_named_with_its_key(place: Workplace) -> None:
    sets = ["--set", "model.pretrained=/no/such/vit.safetensors"]
    output = place.sweeper("run", str(SPACES / "pacs_sketch.yaml"), *sets, status=2)
    assert "model.pretrained: there is no file '/no/such/vit.safetensors'" in output


def test_layers_that_the_model_has_not_are_refused(place: Workplace) -> None:
    sets = ["--set", "baselines=[{method: top_k, set: {method.layers: 9}}]"]
    output = place.sweeper("run", str(SPACES / "clip_lambda.yaml"), *sets, status=2)
    assert output == "baselines: top_k: method.layers: 9 are asked for, the model has 8\n"
