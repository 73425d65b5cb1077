"""timm's vision transformers: their features are timm's own, and only layers that are called are blocks."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from timm.models.beit import Beit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from search_spaces import Space
from trainables.backbones import TimmBackbone, open_timm_backbone
from trainables.backbones.checkpoints import WeightsFile
from trainables.data import TimmPreprocessing
from trainables.errors import ProblemError
from trainables.methods import METHODS

MakeSpace = Callable[..., Space]

NAME = "vit_tiny_patch16_224"
TAGGED = f"{NAME}.augreg_in21k_ft_in1k"
REAL = Path(__file__).parents[4] / "shared/data/vit_tiny_imagenet/vit_tiny_patch16_224_in1k.safetensors"


def normalised(backbone: TimmBackbone, pixels: Tensor) -> Tensor:
    return (pixels / 255 - backbone.mean) / backbone.std


def large_pixels(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, 224, 224), dtype=torch.uint8, generator=generator)


def test_features_and_logits_are_timms(
    vit: VisionTransformer, timm_backbone: TimmBackbone, pixels: Tensor
) -> None:
    images = (pixels / 255 - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor(
        [0.2, 0.25, 0.3]
    ).view(3, 1, 1)
    expected = vit.forward_head(vit.forward_features(images), pre_logits=True)
    torch.testing.assert_close(timm_backbone(pixels), expected, rtol=1e-5, atol=1e-5)
    assert timm_backbone.classifier is not None
    torch.testing.assert_close(
        timm_backbone.classifier(timm_backbone(pixels)), vit(images), rtol=1e-5, atol=1e-5
    )
    assert timm_backbone.feature_size == expected.shape[1] == 32


@pytest.mark.parametrize("pool", ["token", "avg", "max"])
def test_every_kind_of_pooling_is_timms(pool: str, pixels: Tensor) -> None:
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=1, num_heads=2, num_classes=5, global_pool=pool
    ).eval()
    vit.pretrained_cfg = {"input_size": (3, 16, 16)}
    backbone = TimmBackbone(vit)
    assert backbone.classifier is not None
    images = normalised(backbone, pixels)
    torch.testing.assert_close(backbone.classifier(backbone(pixels)), vit(images), rtol=1e-5, atol=1e-5)


def test_pictures_are_prepared_as_the_model_says(timm_backbone: TimmBackbone) -> None:
    preprocessing = timm_backbone.preprocessing
    assert preprocessing == TimmPreprocessing(16, "bilinear", (0.4, 0.5, 0.6), 0.8)
    config = timm.data.resolve_model_data_config(timm_backbone.vit)
    assert timm_backbone.mean.flatten().tolist() == pytest.approx(config["mean"])
    assert timm_backbone.std.flatten().tolist() == pytest.approx(config["std"])


def test_the_tag_says_how_pictures_are_prepared() -> None:
    """Two sets of weights of one architecture, which timm lists with other statistics."""
    plain, dino = (
        open_timm_backbone(name, "hub", weights=False) for name in (TAGGED, "vit_small_patch16_224.dino")
    )
    for backbone, tag in ((plain, TAGGED), (dino, "vit_small_patch16_224.dino")):
        config = timm.get_pretrained_cfg(tag)
        assert backbone.mean.flatten().tolist() == pytest.approx(config.mean)
        view = (config.interpolation, config.mean, config.crop_pct, config.crop_mode)
        assert backbone.preprocessing == TimmPreprocessing(224, *view)
    assert plain.classifier is not None and dino.classifier is None
    assert plain.mean.flatten().tolist() != dino.mean.flatten().tolist()


def test_it_is_frozen_and_names_its_blocks(timm_backbone: TimmBackbone, pixels: Tensor) -> None:
    assert not timm_backbone.training
    assert not any(parameter.requires_grad for parameter in timm_backbone.parameters())
    names = timm_backbone.block_names(("fc2", "fc1", "proj", "qkv"), ("image",))
    assert names == tuple(f"image.{n}.{kind}" for n in (0, 1) for kind in ("qkv", "proj", "fc1", "fc2"))
    called: list[str] = []
    for name in names:
        layer = timm_backbone.get_submodule(timm_backbone.linears[name])
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    timm_backbone(pixels)
    assert tuple(called) == names
    assert timm_backbone.block_names(("v", "q"), ("image",)) == (
        "image.0.q",
        "image.0.v",
        "image.1.q",
        "image.1.v",
    )
    assert not timm_backbone.reads_text
    with pytest.raises(ProblemError, match=r"^name: the model has no text tower; a CLIP has one$"):
        timm_backbone.texts(["a letter"])


def test_the_plain_state_loads_into_timms_model(
    timm_backbone: TimmBackbone, vit: VisionTransformer, pixels: Tensor
) -> None:
    fresh = VisionTransformer(img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5)
    fresh.load_state_dict(timm_backbone.plain_state())
    images = normalised(timm_backbone, pixels)
    assert torch.equal(fresh.eval()(images), vit(images))


def test_a_real_model_is_timms() -> None:
    if not REAL.is_file():
        pytest.skip(f"the ImageNet ViT-Tiny is not at {REAL}")
    backbone = open_timm_backbone(TAGGED, file=WeightsFile(str(REAL), "file"))
    theirs = timm.create_model(TAGGED, pretrained=True, pretrained_cfg_overlay={"file": str(REAL)}).eval()
    pixels = large_pixels()
    images = normalised(backbone, pixels)
    assert backbone.mean.flatten().tolist() == backbone.std.flatten().tolist() == [0.5] * 3
    with torch.no_grad():
        features = backbone(pixels)
        expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        assert torch.equal(features, expected)
        assert backbone.classifier is not None
        assert torch.equal(backbone.classifier(features), theirs(images))


@pytest.mark.parametrize("name", ["resnet18", "mixer_s32_224", "swin_tiny_patch4_window7_224"])
def test_what_is_no_vision_transformer_is_refused(name: str) -> None:
    with pytest.raises(ProblemError, match=r"^name: the architecture [^\n]+$"):
        open_timm_backbone(name, "hub", weights=False)


@pytest.fixture
def beit() -> TimmBackbone:
    """Its attention calls the query-key-value projection as a function on bare weights."""
    vit = Beit(img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5)
    vit.pretrained_cfg = {"input_size": (3, 16, 16)}
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return TimmBackbone(vit)


def test_a_layer_that_timm_calls_past_its_module_is_a_block_too(
    beit: TimmBackbone, pixels: Tensor, make_space: MakeSpace
) -> None:
    names = tuple(f"image.{n}.{kind}" for n in (0, 1) for kind in ("qkv", "proj", "fc1", "fc2"))
    assert beit.block_names(("qkv", "proj", "fc1", "fc2"), ("image",)) == names
    method = METHODS["lora"](beit, [make_space("lora").method], [torch.Generator()])
    with torch.no_grad():
        for parameter in method.updates().values():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    method(pixels).square().sum().backward()
    adapters = [p for p in method.parameters() if p.requires_grad]
    assert len(adapters) == 2 * len(names) and all(p.grad is not None and p.grad.any() for p in adapters)
