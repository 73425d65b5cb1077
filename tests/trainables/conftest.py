"""A CLIP and a ViT of a few thousand random weights, and problems of a few random images."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn

from search_spaces import METHODS, Points, Resources, Space
from search_spaces import Training as TrainingSection
from search_spaces.gated import Path
from trainables import Problem, measure_reference
from trainables.backbones import ClipBackbone, TimmBackbone, class_sentences
from trainables.backbones.tiny_clip import MERGES
from trainables.data import ImageSet, Task
from trainables.probes import KnnProbe, ZeroShotProbe

IMAGE_SIZE = 16
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CLASSES = ("letter", "digit", "circle")
TEMPLATES = ("a red {}", "a {} on a blue background")
SENTENCES = class_sentences(CLASSES, TEMPLATES)

MakeSpace = Callable[..., Space]


@pytest.fixture(scope="session")
def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(bpe_path=str(MERGES), context_length=16)


@pytest.fixture(scope="session")
def clip(tokenizer: SimpleTokenizer) -> CLIP:
    """The model as open_clip builds it, not to be changed. No weight, bias or gain is left at 0 or 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIP(
            embed_dim=24,
            vision_cfg=CLIPVisionCfg(image_size=IMAGE_SIZE, patch_size=8, width=32, layers=2, head_width=16),
            text_cfg=CLIPTextCfg(
                context_length=tokenizer.context_length,
                vocab_size=tokenizer.vocab_size,
                width=16,
                heads=2,
                layers=1,
            ),
        )
        disturb(model)
    return model.eval()


@torch.no_grad()
def disturb(model: nn.Module) -> None:
    """Moves every parameter off the value that it was initialised with."""
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.fixture(scope="session")
def vit() -> VisionTransformer:
    """The model as timm builds it, not to be changed; with a classifier of five classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(
            img_size=IMAGE_SIZE, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5
        )
        disturb(model)
    model.pretrained_cfg = {
        "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
        "mean": MEAN,
        "std": STD,
        "crop_pct": 0.8,
        "interpolation": "bilinear",
    }
    return model.eval()


@pytest.fixture
def timm_backbone(vit: VisionTransformer) -> TimmBackbone:
    return TimmBackbone(copy.deepcopy(vit))


@pytest.fixture
def pixels() -> Tensor:
    """(5, 3, 16, 16), uint8, noise."""
    shape = (5, 3, IMAGE_SIZE, IMAGE_SIZE)
    return torch.randint(256, shape, dtype=torch.uint8, generator=Generator().manual_seed(2))


@pytest.fixture
def backbone(clip: CLIP, tokenizer: SimpleTokenizer) -> ClipBackbone:
    return ClipBackbone(copy.deepcopy(clip), tokenizer, MEAN, STD)


def random_images(count: int, generator: Generator) -> ImageSet:
    """Coloured noise: every image has a mean colour of its own, every class appears."""
    tint = torch.rand(count, 3, 1, 1, generator=generator)
    noise = torch.rand(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return ImageSet((255 * (tint + noise) / 2).to(torch.uint8), torch.arange(count) % len(CLASSES))


@pytest.fixture
def problem(backbone: ClipBackbone, make_space: MakeSpace) -> Problem:
    """24 images to learn from, 12 to validate and 12 to test on; one shifted set; one probe."""
    generator = Generator().manual_seed(1)

    def task() -> Task:
        return Task(CLASSES, TEMPLATES, *(random_images(count, generator) for count in (24, 12, 12)))

    unmeasured = Problem(
        backbone=backbone,
        task=task(),
        prompts=backbone.texts(SENTENCES),
        ood={"noisy": random_images(12, generator)},
        probes=(ZeroShotProbe("shapes", task(), backbone.texts(SENTENCES)),),
    )
    return replace(unmeasured, reference=measure_reference(unmeasured, make_space()))


@pytest.fixture
def timm_problem(timm_backbone: TimmBackbone, make_space: MakeSpace) -> Problem:
    """As `problem`, with a model that reads no text."""
    generator = Generator().manual_seed(1)

    def task() -> Task:
        return Task(CLASSES, TEMPLATES, *(random_images(count, generator) for count in (24, 12, 12)))

    unmeasured = Problem(
        backbone=timm_backbone,
        task=task(),
        prompts=None,
        ood={"noisy": random_images(12, generator)},
        probes=(KnnProbe("shapes", task(), k=3),),
    )
    return replace(unmeasured, reference=measure_reference(unmeasured, make_space()))


@pytest.fixture(scope="session")
def make_space() -> MakeSpace:
    """Gives a space with no more than a training reads: a method's own settings, and the training's.

    They are not checked, so that a test can ask for what no space file may.
    """

    def make(name: str = "selective_lora", method: Mapping[str, Any] | None = None, **training: Any) -> Space:
        own = {"lambda_" if key == "lambda" else key: value for key, value in (method or {}).items()}
        if isinstance(own.get("path"), dict):
            own["path"] = Path.model_construct(**own["path"])
        return Space.model_construct(
            method=METHODS[name](name=name).model_copy(update=own),
            training=TrainingSection(epochs=2, batch_size=8).model_copy(update=training),
            points=Points(),
            resources=Resources(),
        )

    return make
