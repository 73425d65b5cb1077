import pytest
import torch
from open_clip import CLIP, build_zero_shot_classifier
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from trainables import ProblemError
from trainables.backbones import (
    ClipBackbone,
    class_sentences,
    class_vectors,
    open_backbone,
    open_clip_backbone,
)
from trainables.backbones.tiny_clip import WEIGHTS

CLASSES = ("letter", "digit", "red circle", "green square")
TEMPLATES = ("a {}", "a {} on a blue background", "a picture of a {}")


@pytest.fixture
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (5, 3, 16, 16), dtype=torch.uint8, generator=generator)


def test_features_are_open_clips_to_the_bit(clip: CLIP, backbone: ClipBackbone, pixels: Tensor) -> None:
    """With gradients on: without them nn.MultiheadAttention takes a fused path that rounds otherwise."""
    images = pixels.float() / 255
    with torch.enable_grad():
        assert torch.equal(backbone.encode(images), clip.encode_image(images))
    with torch.no_grad():
        torch.testing.assert_close(backbone.encode(images), clip.encode_image(images), rtol=1e-5, atol=1e-5)


def test_bytes_are_normalised_by_channel(clip: CLIP, backbone: ClipBackbone, pixels: Tensor) -> None:
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    expected = clip.encode_image((pixels / 255 - mean) / std)
    torch.testing.assert_close(backbone(pixels), expected, rtol=1e-5, atol=1e-5)


def test_it_knows_its_sizes(clip: CLIP, backbone: ClipBackbone) -> None:
    assert (backbone.preprocessing.size, backbone.feature_size) == (16, 24)
    assert backbone.logit_scale == pytest.approx(clip.logit_scale.exp().item())


def test_blocks_are_named_in_the_order_of_the_forward_pass(backbone: ClipBackbone, pixels: Tensor) -> None:
    names = backbone.block_names(("fc2", "fc1", "proj", "qkv"), ("image",))
    assert names == tuple(
        f"image.{layer}.{kind}" for layer in (0, 1) for kind in ("qkv", "proj", "fc1", "fc2")
    )
    called: list[str] = []
    for name in names:
        layer = backbone.get_submodule(backbone.linears[name])
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    backbone(pixels)
    assert tuple(called) == names


def test_blocks_can_be_chosen_by_kind_and_tower(backbone: ClipBackbone) -> None:
    assert backbone.block_names(("proj",), ("image",)) == ("image.0.proj", "image.1.proj")
    assert backbone.block_names(("proj",), ("text",)) == ("text.0.proj",)
    assert backbone.block_names(("v", "q"), ("text",)) == ("text.0.q", "text.0.v")


def test_it_is_frozen(backbone: ClipBackbone) -> None:
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_a_fork_shares_tensors_but_not_modules(backbone: ClipBackbone, pixels: Tensor) -> None:
    fork = backbone.fork()
    mine, theirs = backbone.state_dict(keep_vars=True), fork.state_dict(keep_vars=True)
    assert mine.keys() == theirs.keys() and all(mine[name] is theirs[name] for name in mine)
    assert not {id(module) for module in backbone.modules()} & {id(module) for module in fork.modules()}

    before = backbone(pixels)
    fork.set_submodule(fork.linears["image.0.fc1"], torch.nn.Linear(32, 128))
    assert torch.equal(backbone(pixels), before)
    assert not torch.allclose(fork(pixels), before)


def test_class_embeddings_are_open_clips_zero_shot_classifier(
    clip: CLIP, backbone: ClipBackbone, tokenizer: SimpleTokenizer
) -> None:
    expected = build_zero_shot_classifier(clip, tokenizer, CLASSES, TEMPLATES).T
    texts = backbone.texts(class_sentences(CLASSES, TEMPLATES))
    embeddings = class_vectors(backbone.vectors(texts)[None], len(TEMPLATES))[0]
    torch.testing.assert_close(embeddings, expected, rtol=1e-5, atol=1e-6)
    assert not embeddings.requires_grad


def test_the_model_that_ships_opens() -> None:
    backbone = open_clip_backbone("tiny-clip", "bundled")
    assert backbone.vectors(backbone.texts(["a letter"])).shape == (1, backbone.feature_size)


UNKNOWN = "open_clip has no architecture"
NEITHER = "is neither a file nor a tag of"
NO_VIT = "is not a CLIP whose image tower is a vision transformer"


@pytest.mark.parametrize(
    "name, pretrained, message",
    [
        ("ViT-B-33", "openai", f"name: {UNKNOWN} 'ViT-B-33'; did you mean 'ViT-B-32'?"),
        ("tiny-clp", "bundled", f"name: {UNKNOWN} 'tiny-clp'; did you mean 'tiny-clip'?"),
        ("???", "openai", f"name: {UNKNOWN} '???'; open_clip.list_models() names them"),
        ("ViT-B-32", "opanai", f"pretrained: 'opanai' {NEITHER} ViT-B-32; its tags are openai, "),
        ("ViT-B-32-256", "/no/such/file.pt", "pretrained: there is no file '/no/such/file.pt'"),
        (
            "ViT-B-32",
            "/no/such/file.pt",
            "pretrained: '/no/such/file.pt' could be any of the weights of ViT-B-32",
        ),
        ("ViT-B-32", "openai", "name: the weights 'openai' were trained as ViT-B-32-quickgelu; use "),
        ("tiny-clip", "openai", f"pretrained: 'openai' {NEITHER} tiny-clip; leave it out"),
        ("RN50", str(WEIGHTS), f"name: 'RN50' {NO_VIT}"),
        ("coca_ViT-B-32", str(WEIGHTS), f"name: 'coca_ViT-B-32' {NO_VIT}"),
        (
            "ViT-B-32",
            "local-dir:/no/such",
            "pretrained: a model with its own configuration is a name; write ",
        ),
    ],
)
def test_what_cannot_be_opened_is_refused_with_a_reason(name: str, pretrained: str, message: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        open_backbone("open_clip", name, pretrained)
    assert str(refusal.value).startswith(message)
