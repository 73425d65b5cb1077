"""A member as a plain model, of every method that puts blocks in the place of layers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables.backbones import KINDS, Backbone, ClipBackbone
from trainables.methods import METHODS, Method
from trainables.methods.block_method import BlockMethod
from trainables.methods.blocks import Block

MakePack = Callable[..., Method]
Randomise = Callable[[Method], None]

BLOCK_METHODS = [name for name, method in METHODS.items() if issubclass(method, BlockMethod)]
GATED = ("selective_lora", "taps")
KIND_CHOICES = (KINDS, ("q", "v"), ("q", "k", "v", "fc1"))


def settings_of(name: str, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = [{"blocks": kinds}, {"blocks": kinds}]
    if name != "taps":
        own = [{**own[0], "rank": 3, "alpha": 2.0}, {**own[1], "rank": 1}]
    return [{**s, "active_blocks": 2} for s in own] if name in ("random_blocks", "largest_norm") else own


@pytest.mark.parametrize("kinds", KIND_CHOICES, ids="-".join)
@pytest.mark.parametrize("name", BLOCK_METHODS)
def test_a_merged_member_computes_what_the_adapted_one_did(
    any_backbone: Backbone,
    make_pack: MakePack,
    randomise: Randomise,
    pixels: Tensor,
    name: str,
    kinds: tuple[str, ...],
) -> None:
    method = make_pack(any_backbone, name, *settings_of(name, kinds))
    randomise(method)
    if name in GATED:
        with torch.no_grad():
            method.gates.scores[0, 1] = method.gates.scores[1, 0] = 0.0
    adapted = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    assert not torch.allclose(adapted[0], adapted[1], rtol=1e-2)
    for k in range(2):
        merged = method.merged(k)
        assert not any(isinstance(module, Block) for module in merged.modules())
        assert merged.state_dict().keys() == any_backbone.state_dict().keys()
        assert not any(parameter.requires_grad for parameter in merged.parameters())
        torch.testing.assert_close(merged(pixels), adapted[k], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(method(pixels.repeat(2, 1, 1, 1)), adapted.flatten(0, 1))


@pytest.mark.parametrize("kinds", KIND_CHOICES, ids="-".join)
@pytest.mark.parametrize("name", GATED)
def test_closed_gates_merge_to_the_pre_trained_weights_to_the_bit(
    any_backbone: Backbone,
    make_pack: MakePack,
    randomise: Randomise,
    pixels: Tensor,
    name: str,
    kinds: tuple[str, ...],
) -> None:
    method = make_pack(any_backbone, name, *settings_of(name, kinds))
    randomise(method)
    with torch.no_grad():
        method.gates.scores[1] = 0.0
    untouched, merged = any_backbone.state_dict(), method.merged(1).state_dict()
    assert all(torch.equal(tensor, untouched[key]) for key, tensor in merged.items())
    features = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    assert torch.equal(features[1], any_backbone(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))[1])
    assert not torch.allclose(features[0], any_backbone(pixels), rtol=0.1)


def test_both_towers_are_merged(
    backbone: ClipBackbone, make_pack: MakePack, randomise: Randomise, pixels: Tensor
) -> None:
    method = make_pack(backbone, "lora", {"towers": ("image", "text")})
    randomise(method)
    tokens = backbone.texts(["a letter", "a digit"]).tokens
    merged = method.merged(0)
    texts = method.backbone.encode_text(tokens)
    torch.testing.assert_close(merged.encode_text(tokens), texts, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(texts, backbone.encode_text(tokens), rtol=0.1)
    torch.testing.assert_close(merged(pixels), method(pixels), rtol=1e-4, atol=1e-4)
