"""LoRA against peft: on timm's layers, and on the thirds of a fused projection."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from trainables.backbones import KINDS, Backbone, TimmBackbone
from trainables.methods import Method
from trainables.methods.blocks import LowRankBlock

MakePack = Callable[..., Method]
Randomise = Callable[[Method], None]

MEMBERS: tuple[dict[str, Any], ...] = ({"rank": 4, "alpha": 6.0}, {"rank": 2, "alpha": 1.0})
PARTS = ("q", "k", "v")


class SplitProjection(nn.Module):
    """A fused projection as three layers, so that peft can adapt one of them."""

    def __init__(self, qkv: nn.Linear) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(qkv.in_features, qkv.out_features // 3) for _ in PARTS)
        for layer, weight, bias in zip(self.children(), qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True):
            layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x) for layer in self.children()], dim=-1)


def peft_model(
    backbone: Backbone, method: Method, settings: dict[str, Any], split: bool
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """peft's LoRA on a copy of the backbone, and its layer for each block."""
    fork = backbone.fork()
    paths = {block: fork.linears[block] for block in method.blocks}
    if split:
        for path in dict.fromkeys(paths.values()):
            qkv = fork.get_submodule(path)
            assert isinstance(qkv, nn.Linear)
            fork.set_submodule(path, SplitProjection(qkv))
        paths = {block: f"{path}.{block[-1]}" for block, path in paths.items()}
    config = LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], target_modules=list(paths.values()))
    peft = inject_adapter_in_model(config, fork)
    return peft, {block: peft.get_submodule(path) for block, path in paths.items()}


@pytest.mark.parametrize("kinds", [KINDS, ("q", "v"), ("k",), ("q", "k", "v")], ids="-".join)
def test_each_member_is_pefts_lora(
    any_backbone: Backbone,
    make_pack: MakePack,
    randomise: Randomise,
    pixels: Tensor,
    kinds: tuple[str, ...],
) -> None:
    """Features and gradients, to 1e-4 of their size."""
    method = make_pack(any_backbone, "lora", *({**member, "blocks": kinds} for member in MEMBERS))
    randomise(method)
    features = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    features.square().sum().backward()
    assert not torch.allclose(features[0], any_backbone(pixels), rtol=0.1)

    for k, settings in enumerate(MEMBERS):
        peft, theirs = peft_model(any_backbone, method, settings, split="qkv" not in kinds)
        rank = settings["rank"]
        placed = dict(zip(method.blocks, method.placed, strict=True))
        with torch.no_grad():
            for name, mine in placed.items():
                theirs[name].lora_A["default"].weight.copy_(mine.down[k, :rank])
                theirs[name].lora_B["default"].weight.copy_(mine.up[k, :, :rank])
        expected = peft(pixels)
        expected.square().sum().backward()
        torch.testing.assert_close(features[k], expected, rtol=1e-4, atol=1e-4)
        for name, mine in placed.items():
            down = theirs[name].lora_A["default"].weight.grad
            up = theirs[name].lora_B["default"].weight.grad
            # The keys' gradient is small beside the queries', as softmax leaves part of it out.
            for gradient, reference in ((mine.down.grad[k, :rank], down), (mine.up.grad[k, :, :rank], up)):
                torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-3 * reference.abs().max())


def test_blocks_of_one_layer_are_nested_around_it(timm_backbone: TimmBackbone, make_pack: MakePack) -> None:
    method = make_pack(timm_backbone, "lora", {"blocks": ("q", "v")})
    outer = method.backbone.get_submodule("vit.blocks.1.attn.qkv")
    assert isinstance(outer, LowRankBlock) and isinstance(outer.linear, LowRankBlock)
    assert (outer.outputs, outer.linear.outputs) == (slice(64, 96), slice(0, 32))
    assert outer.linear.linear.weight is timm_backbone.vit.blocks[1].attn.qkv.weight
    assert method.blocks == ("image.0.q", "image.0.v", "image.1.q", "image.1.v")
    # rank (in + a third of the outputs), on 2 parts of 2 layers
    assert method.trained_parameters() == [8 * (32 + 32) * 4]
