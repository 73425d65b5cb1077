"""A space for one's own model and pictures is one that can be run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workplace import Workplace

from search_spaces import load_space


def pictures(folder: Path, *classes: str, count: int = 10) -> None:
    """Pictures of noise, so many a class."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name / f"{number}.png")


@pytest.mark.parametrize(
    ("model", "probe", "head_rate"),
    [("tiny-clip", "glyphs, score: zero_shot", 0.1), ("tiny-dino", "glyphs, score: knn", None)],
)
def test_what_is_written_is_valid(tmp_path: Path, model: str, probe: str, head_rate: float | None) -> None:
    pictures(tmp_path / "my pets", "cat", "dog")
    place = Workplace(tmp_path)
    said = place.sweeper("init", "--model", model, "--data", "my pets")
    assert "my-pets.yaml: 2 classes, train 12, val 4, test 4 pictures by their names, not read yet" in said
    assert probe in (tmp_path / "my-pets.yaml").read_text()
    assert load_space(tmp_path / "my-pets.yaml").training.head_lr == head_rate
    assert "cost: about" in place.sweeper("validate", "my-pets.yaml")
    refused = place.sweeper("init", "--model", model, "--data", "my pets", status=2)
    assert refused.strip() == "my-pets.yaml: it is there already; give another file by --to"


def test_a_classifier_and_numbered_classes_are_seen(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pictures(tmp_path / "scans" / split, "1", "2")
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    place = Workplace(tmp_path)
    said = place.sweeper("init", "--model", name, "--data", f"{tmp_path}/scans", "--to", "mine.yaml")
    assert "mine.yaml: 2 classes, train 18, val 2, test 20 pictures" in said
    space = load_space(tmp_path / "mine.yaml")
    assert (space.sweep, space.training.head, space.budget.active_blocks) == ("scans", None, 3)
    assert "classes: imagenet, limit: 5000, score: head" in (tmp_path / "mine.yaml").read_text()


def test_a_clip_begins_from_prompts_only_where_classes_have_names(tmp_path: Path) -> None:
    pictures(tmp_path / "scans", "1", "2")
    Workplace(tmp_path).sweeper("init", "--model", "tiny-clip", "--data", "scans")
    space = load_space(tmp_path / "scans.yaml")
    assert (space.training.head, space.training.head_lr) == ("fresh", None)
    assert "zero_shot" not in {baseline.method for baseline in space.baselines}


def test_what_cannot_be_used_is_refused_by_its_option(tmp_path: Path) -> None:
    pictures(tmp_path / "pets", "cat", "dog")
    pictures(tmp_path / "few", "cat", "dog", count=1)
    place = Workplace(tmp_path)
    refusals = {
        ("ViT-B-23", "pets"): "--model ViT-B-23: neither open_clip nor timm has an architecture of that name",
        ("tiny-clip", "pest"): f"--data.path: no such folder: {tmp_path}/pest",
        ("resnet18", "pets"): "--model.name:",
        ("tiny-clip", "few"): "--data.split: leaves no picture for ",
    }
    for (model, data), text in refusals.items():
        assert text in place.sweeper("init", "--model", model, "--data", data, status=2)
    assert not list(tmp_path.glob("*.yaml"))
