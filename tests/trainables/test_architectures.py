"""Architectures that people bring, with random weights, go through every method, prefix and export.

Small ones of their kind here; ``pytest -m real_size`` takes them as they are (minutes, 16 GB).
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import Generator, Tensor, nn

from search_spaces import Model, Space
from trainables import Problem, Training
from trainables.backbones import Backbone, ClipBackbone, TimmBackbone, open_backbone
from trainables.data import ImageSet, Task
from trainables.engine.prefix import Prefix
from trainables.errors import ProblemError
from trainables.export import FORMATS, Trained, load_adapter
from trainables.methods import METHODS

MakeSpace = Callable[..., Space]

CLIPS = ["ViT-B-32", "ViT-L-14", "ViT-B-16-SigLIP", "PE-Core-B-16", "EVA02-B-16"]
VITS = [
    "eva02_base_patch14_224",
    "eva02_base_patch16_clip_224",
    "vit_base_patch16_224.dino",
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "deit_small_patch16_224",
    "deit3_small_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "beit_base_patch16_224",
    "vit_relpos_small_patch16_224",
    "vit_base_patch16_siglip_224.webli",
    "vit_pe_core_base_patch16_224.fb",
]
REFUSED = ["hiera_tiny_224", "swin_tiny_patch4_window7_224", "vit_base_patch16_sapiens2"]
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 2}
SMALL_VISION = {"layers": 2, "width": 48, "head_width": 24, "image_size": 64}
SMALL_TEXT = {"layers": 2, "width": 48, "heads": 2, "vocab_size": 600, "context_length": 8}
STEP = {"epochs": 1, "batch_size": 2}

# A name, and whether it is as large as its library has it.
MODELS = [
    *((name, False) for name in (*VITS, "ViT-B-32", "ViT-L-14")),
    *(pytest.param((name, True), marks=pytest.mark.real_size, id=f"{name}-real") for name in (*VITS, *CLIPS)),
]
Chosen = tuple[str, bool]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model[0])


def size_of(model: Chosen) -> dict[str, int]:
    """The size of the pictures that timm is told."""
    name, real = model
    patch = 14 if "patch14" in name else 16
    # DINOv2 is known at 518 px.
    return {"img_size": 224 if real else 4 * patch}


def build(model: Chosen) -> nn.Module:
    """The model as its library builds it."""
    name, real = model
    if name in VITS:
        vit: nn.Module = timm.create_model(name, **size_of(model), **({} if real else SMALL))
        return vit
    config = open_clip.get_model_config(name)
    if not real:
        config["vision_cfg"] |= SMALL_VISION
        config["text_cfg"] |= SMALL_TEXT
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    clip: nn.Module = kind(**config)
    return clip


def disturbed(model: nn.Module) -> nn.Module:
    """With no weight left at zero, as it would be after a training."""
    generator = Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def wrapped(model: Chosen, theirs: nn.Module) -> Backbone:
    if model[0] in VITS:
        return TimmBackbone(
            copy.deepcopy(theirs), timm.data.resolve_data_config(size_of(model), model=theirs)
        )
    text = getattr(theirs, "text", theirs)

    def tokenizer(sentences: Sequence[str]) -> Tensor:
        rows = [[1 + ord(letter) for letter in sentence.ljust(text.context_length)] for sentence in sentences]
        return torch.tensor([row[: text.context_length] for row in rows])

    return ClipBackbone(copy.deepcopy(theirs), tokenizer, (0.5,) * 3, (0.5,) * 3)


def pictures(count: int, size: int) -> ImageSet:
    shape = (count, 3, size, size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=Generator().manual_seed(count))
    return ImageSet(pixels, torch.arange(count) % 2)


def problem_of(backbone: Backbone) -> Problem:
    sets = [pictures(count, backbone.preprocessing.size) for count in (2, 2, 2)]
    prompts = backbone.texts(["a cat", "a dog"]) if backbone.reads_text else None
    return Problem(backbone, Task(("cat", "dog"), ("a {}",), *sets), prompts, ood={}, probes=())


def features_of(model: Any, images: Tensor) -> Tensor:
    if not hasattr(model, "encode_image"):
        features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
        return features
    encoded: Tensor = model.encode_image(images)
    return encoded


@each_model
def test_features_state_and_blocks_are_the_librarys(model: Chosen) -> None:
    theirs = disturbed(build(model))
    backbone = wrapped(model, theirs)
    pixels = pictures(2, backbone.preprocessing.size).pixels
    assert isinstance(pixels, Tensor)
    with torch.no_grad():
        images = (pixels / 255 - backbone.mean) / backbone.std
        expected = features_of(theirs, images)
        torch.testing.assert_close(backbone(pixels), expected, rtol=1e-3, atol=1e-4)
        other = build(model).eval()
        other.load_state_dict(backbone.plain_state())
        torch.testing.assert_close(features_of(other, images), expected, rtol=1e-5, atol=1e-6)
    kinds = ("qkv", "proj", "fc1", "fc2")
    assert len(backbone.block_names(kinds, ("image",))) == 4 * backbone.depth("image")


@each_model
def test_every_method_trains_a_step_alike_with_and_without_the_prefix(
    model: Chosen, make_space: MakeSpace
) -> None:
    problem = problem_of(wrapped(model, disturbed(build(model))))
    for method in METHODS:
        if method == "zero_shot":
            continue
        space = make_space(method, {"layers": 1} if method in ("top_k", "block_expansion") else {}, **STEP)
        losses = [
            Training(problem, [space], prefix).train_epoch()
            for prefix in (None, Prefix(problem.backbone, gib=1.0))
        ]
        assert torch.isfinite(losses[0]).all(), method
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-4, msg=method)


@each_model
def test_every_adapter_gets_a_gradient_and_is_exported(
    model: Chosen, make_space: MakeSpace, tmp_path: Path
) -> None:
    theirs = disturbed(build(model))
    backbone = wrapped(model, theirs)
    space = make_space("lora", {"rank": 2}, **STEP)
    training = Training(problem_of(backbone), [space])
    with torch.no_grad():
        for parameter in training.learner.method.updates().values():
            parameter.normal_(0, 0.02, generator=Generator().manual_seed(1))
    pixels = pictures(2, backbone.preprocessing.size).pixels
    assert isinstance(pixels, Tensor)
    training.learner.method(pixels).square().sum().backward()
    updates = [p for p in training.learner.method.parameters() if p.requires_grad]
    assert updates and all(p.grad is not None and p.grad.any() for p in updates)
    with torch.no_grad():
        expected = training.learner.method(pixels)
    trained = Trained(training, Model.model_construct(library="?", name=model[0], pretrained="?"), {})
    (tmp_path / "adapter").mkdir()
    FORMATS["adapter"](trained, tmp_path / "adapter")
    loaded = load_adapter(tmp_path / "adapter", backbone).backbone
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), expected, rtol=1e-3, atol=1e-4)
        merged = build(model).eval()
        merged.load_state_dict(training.learner.method.merged(0).plain_state())
        images = (pixels / 255 - backbone.mean) / backbone.std
        torch.testing.assert_close(features_of(merged, images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "eva02_base_patch14_224"])
def test_peft_is_refused_where_it_would_adapt_without_effect(
    name: str, make_space: MakeSpace, tmp_path: Path
) -> None:
    backbone = wrapped((name, False), disturbed(build((name, False))))
    training = Training(problem_of(backbone), [make_space("lora", {"blocks": ("qkv",)}, **STEP)])
    trained = Trained(training, Model(library="timm", name=name, pretrained="?"), {})
    with pytest.raises(ProblemError, match=r"^format: timm has the layer of image.0.qkv in pieces, "):
        FORMATS["peft"](trained, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_layer_by_layer_is_refused(name: str) -> None:
    with pytest.raises(ProblemError, match=r"^name: [^\n]+$"):
        open_backbone("timm", name, "hub", weights=False)
