"""The example in an exported folder names the classes that the model was measured to name."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from small_models import CLIP_CONFIG
from timm.models import save_for_hf

from search_spaces import Model, Space
from search_spaces.data import Source
from trainables import Problem, Training, measure_reference
from trainables.backbones import class_sentences, open_backbone
from trainables.data import load_task
from trainables.engine.evaluate import evaluate
from trainables.errors import ProblemError
from trainables.export import Classifier, Trained, load_given, write_merged
from trainables.probes import KnnProbe

MakeSpace = Callable[..., Space]
CLASSES = ("moss", "sand", "sky")
COLOURS = {"moss": (90, 120, 70), "sand": (125, 115, 80), "sky": (100, 115, 130)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Noisy pictures whose classes are hard to tell apart, wider than high, by split and class."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4), ("test", 10)):
        for name in CLASSES:
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.normal(COLOURS[name], 90, (30, 43, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def timm_model(folder: Path) -> dict[str, Any]:
    """A ViT of timm in a folder, with a preprocessing of its own."""
    own = {"crop_pct": 0.8, "mean": (0.4, 0.5, 0.3), "std": (0.2, 0.25, 0.3), "interpolation": "bilinear"}
    model = timm.create_model("test_vit", num_classes=7, pretrained_cfg_overlay=own)
    save_for_hf(model, folder, safe_serialization=True)
    return {"library": "timm", "name": f"local-dir:{folder}", "pretrained": "bundled"}


def open_clip_model(folder: Path) -> dict[str, Any]:
    """A CLIP of open_clip in a folder, which squashes pictures."""
    folder.mkdir()
    view = {"size": 16, "resize_mode": "squash", "mean": [0.4, 0.5, 0.3], "std": [0.2, 0.25, 0.3]}
    words = CLIP_CONFIG["text_cfg"] | {"vocab_size": 49408}  # of open_clip's own tokenizer
    config = {"model_cfg": CLIP_CONFIG | {"text_cfg": words}, "preprocess_cfg": view}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    # As open_clip begins, all pictures look alike to it.
    moved = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    save_file(moved, folder / "open_clip_model.safetensors")
    return {"library": "open_clip", "name": f"local-dir:{folder}", "pretrained": "bundled"}


def shipped_model(folder: Path) -> dict[str, Any]:
    return {"library": "open_clip", "name": "tiny-clip", "pretrained": "bundled"}


@pytest.mark.parametrize(
    ("make_model", "head"),
    [(timm_model, "fresh"), (open_clip_model, "fresh"), (shipped_model, "prompts"), (shipped_model, "fresh")],
)
def test_the_example_answers_as_evaluate_counts(
    make_model: Callable[[Path], dict[str, Any]],
    head: str,
    pictures: Path,
    make_space: MakeSpace,
    tmp_path: Path,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make_model(tmp_path / "theirs")
    backbone = open_backbone(**model)
    task = load_task(Source(source="folder", path=str(pictures)), backbone.preprocessing)
    sentences = class_sentences(task.classes, task.templates)
    prompts = backbone.texts(sentences) if head == "prompts" else None
    problem = Problem(backbone, task, prompts, {}, (KnnProbe("near", task, k=3),))
    space = make_space("linear", head=head)
    problem = replace(problem, reference=measure_reference(problem, space))
    training = Training(problem, [space])
    for _ in range(training.epochs):
        training.run_epoch()
    folder = tmp_path / "export"
    folder.mkdir()
    write_merged(Trained(training, Model(**model), {}), folder)

    metrics = evaluate(problem, load_given(folder, backbone, Model(**model)), space)
    assert 40 < metrics["test/id_accuracy"] < 100
    moved = folder.rename(tmp_path / "elsewhere")
    files = sorted((pictures / "test").glob("*/*.png"))
    # Isolated: it finds the libraries that are installed, and nothing of this working folder.
    done = subprocess.run(
        [sys.executable, "-I", "example.py", *map(str, files)],
        cwd=moved,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    assert [path for path, _ in answers] == list(map(str, files))
    right = [Path(path).parent.name == name for path, name in answers]
    assert 100 * sum(right) / len(right) == pytest.approx(metrics["test/id_accuracy"])

    # `Classifier` answers as the library alone does, whatever a picture comes as.
    shutil.rmtree(tmp_path / "theirs", ignore_errors=True)
    classifier = Classifier(moved)
    by_path = classifier(files)
    assert [classifier.classes[place] for place in by_path.argmax(dim=1)] == [name for _, name in answers]
    opened = [Image.open(path) for path in files]
    torch.testing.assert_close(classifier(opened), by_path)
    torch.testing.assert_close(classifier([np.asarray(picture) for picture in opened]), by_path)
    with pytest.raises(ProblemError, match=r"gone\.png: cannot be read as a picture"):
        classifier([pictures / "gone.png"])
