"""Is every accuracy the one that the model's own library gives for the same weights and pictures?

Claim: yes, to the picture. Left, a few lines of timm, open_clip, scikit-learn and torchvision, as their
documents have them; right, what a sweep measures of the untouched model (validation and test together).

    SWEEPER_DATA=FOLDER python -m benchmarks.libraries [TWO_TOWER]         # minutes on two cores

FOLDER holds vit_tiny_imagenet/, imagenet_sample/, pacs/ and flickr/; TWO_TOWER is a folder that
open_clip opens by ``local-dir:``. What is not there is left out.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks._results import heading, machine
from benchmarks._trials import RESULTS, markdown
from search_spaces import parse_space
from trainables.backbones import Texts, tiny_clip, tiny_dino
from trainables.data import SHIPPED, ImageSet, Task
from trainables.engine.training import measure_reference
from trainables.probes import RetrievalProbe
from trainables.probes.probe import ClassificationProbe
from trainables.probes.retrieval import Captioned
from trainables.problem import open_problem

DATA = Path(os.environ.get("SWEEPER_DATA", "data"))
VIT = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
VIT_FILE = "vit_tiny_imagenet/vit_tiny_patch16_224_in1k.safetensors"
LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch", "scikit-learn")
TINY_CLIP = {"library": "open_clip", "name": "tiny-clip"}
TINY_DINO = {"library": "timm", "name": "tiny-dino"}
TEMPLATE = "a photo of a {}."
BATCH = 50


@dataclass(frozen=True)
class Case:
    """A model, pictures and a score.

    Attributes:
        pictures: how many.
        theirs: what the library gives, in hits of the pictures (of both directions, for retrieval).
    """

    label: str
    model: dict[str, Any]
    probe: dict[str, Any]
    pictures: int
    theirs: Callable[[], float]


def ours(case: Case) -> float:
    """Hits of the untouched model by the sweep's own way."""
    space = parse_space(
        {
            "sweep": "libraries",
            "model": case.model,
            "data": {"id": {"source": "digits", "limit": 20}, "probes": [{**case.probe, "name": "probe"}]},
            "method": {"name": "lora"},
            "budget": {"active_blocks": 1},
            "search": {"trials": 1, "parameters": {"training.lr": {"choices": [1.0e-3]}}},
            "training": {"head": "fresh"},
        }
    )
    problem = open_problem(space)
    (probe,) = problem.probes
    if isinstance(probe, RetrievalProbe):
        probe = whole_of(probe)
        problem = replace(problem, probes=(probe,))
    metrics = measure_reference(problem, space)
    if isinstance(probe, ClassificationProbe) and "split" in case.probe:
        sizes = {"": len(probe.task.val), "test/": len(probe.task.test)}
        return sum(metrics[f"{split}probe/probe"] * size / 100 for split, size in sizes.items())
    return metrics["test/probe/probe"] / 100 * case.pictures


def whole_of(probe: RetrievalProbe) -> RetrievalProbe:
    """The probe with the pictures of both splits in one, among which each caption is looked for."""
    parts = (probe.splits["val"], probe.splits["test"])
    pixels = [part.images.pixels[torch.arange(len(part.images))] for part in parts]
    both = Captioned(
        ImageSet(torch.cat(pixels), torch.cat([part.images.labels for part in parts])),
        Texts(torch.cat([p.texts.tokens for p in parts])),
        torch.cat([parts[0].owners, parts[1].owners + len(pixels[0])]),
    )
    return RetrievalProbe(probe.name, {"val": both, "test": both})


@torch.no_grad()
def tiny_clip_zero_shot(task: Task) -> float:
    """open_clip's classifier of class prompts."""
    model, tokenizer = tiny_clip.open_tiny_clip()
    templates = [template.format for template in task.templates]
    classifier = open_clip.build_zero_shot_classifier(model, tokenizer, task.classes, templates)
    features = F.normalize(model.encode_image(normalised(task.test.pixels)), dim=-1)
    return hits(features @ classifier, task.test.labels)


@torch.no_grad()
def tiny_dino_knn(task: Task) -> float:
    """scikit-learn's neighbours with DINO's weights."""
    model = tiny_dino.open_tiny_dino()
    train, test = (model(normalised(split.pixels)).numpy() for split in (task.train, task.test))
    knn = KNeighborsClassifier(20, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    knn.fit(train, task.train.labels.numpy())
    return float((knn.predict(test) == task.test.labels.numpy()).sum())


def normalised(pixels: Any) -> Tensor:
    """With the mean and deviation of both shipped models."""
    values: Tensor = (pixels.float() / 255 - 0.5) / 0.5
    return values


def hits(logits: Tensor, labels: Tensor) -> float:
    """How many pictures are named rightly."""
    return float((logits.argmax(dim=-1) == labels).sum())


@torch.no_grad()
def timm_head(folder: Path) -> float:
    """The model's card on the hub: its own transform, its own head."""
    overlay = {"file": str(DATA / VIT_FILE)}
    model = timm.create_model(VIT, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    batches = DataLoader(ImageFolder(str(folder), transform), BATCH)
    return sum(hits(model(images), labels) for images, labels in batches)


@torch.no_grad()
def clip_zero_shot(name: str, folder: Path, classes: list[str]) -> float:
    """open_clip's README and its classifier of class prompts."""
    model, _, transform = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    classifier = open_clip.build_zero_shot_classifier(model.eval(), tokenizer, classes, [TEMPLATE.format])
    batches = DataLoader(ImageFolder(str(folder), transform), BATCH)
    return sum(hits(F.normalize(model.encode_image(x), dim=-1) @ classifier, y) for x, y in batches)


@torch.no_grad()
def clip_retrieval(name: str, file: Path) -> float:
    """Recall at 1, where every picture has one caption: the mean of both directions."""
    model, _, transform = open_clip.create_model_and_transforms(name)
    model, table = model.eval(), pd.read_csv(file)
    pictures = [transform(Image.open(file.parent / path).convert("RGB")) for path in table["image"]]
    tokens = open_clip.get_tokenizer(name)(list(table["caption"]))
    images = torch.cat([model.encode_image(part) for part in torch.stack(pictures).split(BATCH)])
    similar = F.normalize(images, dim=-1) @ F.normalize(model.encode_text(tokens), dim=-1).T
    right = torch.arange(len(table))
    return (hits(similar, right) + hits(similar.T, right)) / 2


def cases(two_tower: str | None) -> Iterator[Case]:
    """All for which the model and the pictures are here."""
    glyphs, colors, digits = (SHIPPED[name](32) for name in ("glyphs", "glyph_colors", "digits"))
    for source, task in (("glyphs", glyphs), ("glyph_colors", colors), ("digits", digits)):
        theirs = partial(tiny_clip_zero_shot, task)
        probe: dict[str, Any] = {"source": source, "score": "zero_shot"}
        yield Case("tiny-clip, zero-shot", TINY_CLIP, probe, len(task.test), theirs)
    for source, task in (("glyphs", glyphs), ("digits", digits)):
        probe = {"source": source, "score": "knn", "k": 20}
        yield Case("tiny-dino, k-NN", TINY_DINO, probe, len(task.test), partial(tiny_dino_knn, task))
    sample = DATA / "imagenet_sample"
    whole = {"source": "folder", "split": [0, 0.5, 0.5]}
    if (DATA / VIT_FILE).is_file() and sample.is_dir():
        probe = {**whole, "path": str(sample), "classes": "imagenet", "score": "head"}
        model = {"library": "timm", "name": VIT, "file": str(DATA / VIT_FILE)}
        yield Case("ViT-Tiny, its own head", model, probe, 1000, partial(timm_head, sample))
    if two_tower is not None:
        yield from two_tower_cases(f"local-dir:{Path(two_tower).absolute()}", whole)


def two_tower_cases(name: str, whole: dict[str, Any]) -> Iterator[Case]:
    """Zero-shot on ImageNet and PACS, and retrieval on Flickr8k."""
    model = {"library": "open_clip", "name": name}
    named = {"imagenet_sample": list(open_clip.IMAGENET_CLASSNAMES)}
    for folder in ("imagenet_sample", "pacs/test/photo", "pacs/test/sketch"):
        place = DATA / folder
        if not place.is_dir():
            continue
        classes = named.get(folder) or sorted(path.name for path in place.iterdir())
        probe = {
            **whole,
            "path": str(place),
            "classes": classes,
            "templates": [TEMPLATE],
            "score": "zero_shot",
        }
        count = sum(1 for path in place.rglob("*") if path.is_file())
        theirs = partial(clip_zero_shot, name, place, classes)
        yield Case("two towers, zero-shot", model, probe, count, theirs)
    file = DATA / "flickr/captions.csv"
    if file.is_file():
        probe = {"source": "pairs", "path": str(file), "score": "retrieval"}
        count = len(pd.read_csv(file))
        yield Case("two towers, retrieval", model, probe, count, partial(clip_retrieval, name, file))


def main(two_tower: str | None = None) -> None:
    """Writes the table; ends with status 1 where a figure differs."""
    rows, differ = [], False
    for case in cases(two_tower):
        theirs, mine = case.theirs(), ours(case)
        same = abs(theirs - mine) < 1e-6 * case.pictures
        differ = differ or not same
        data = case.probe.get("path", case.probe["source"]).removeprefix(f"{DATA}/")
        shares = [f"{100 * count / case.pictures:.2f} ({count:g})" for count in (theirs, mine)]
        rows.append([case.label, data, case.pictures, *shares, "equal" if same else "DIFFERS"])
        print(*rows[-1], sep=" | ", flush=True)
    columns = ["model", "pictures of", "pictures", "its library, % (hits)", "here, % (hits)", ""]
    about = {"command": "SWEEPER_DATA=... python -m benchmarks.libraries TWO_TOWER", **machine(LIBRARIES)}
    page = f"{heading('The same accuracy as the library', 'libraries', about)}\n{markdown(columns, rows)}\n"
    (RESULTS / "libraries.md").write_text(page)
    sys.exit(differ)


if __name__ == "__main__":
    main(*sys.argv[1:2])
