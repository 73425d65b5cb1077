"""TAPS against the plain model with w0 + delta in the place of its weights."""

from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.func import functional_call

from trainables.backbones import KINDS, Backbone, TimmBackbone
from trainables.methods import Method

MakePack = Callable[..., Method]
Randomise = Callable[[Method], None]

INITIAL = 0.15


def test_it_starts_as_the_pre_trained_model_to_the_bit(
    any_backbone: Backbone, make_pack: MakePack, pixels: Tensor
) -> None:
    features = make_pack(any_backbone, "taps", {}, {})(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    assert torch.equal(features, any_backbone(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1)))


@pytest.mark.parametrize("kinds", [KINDS, ("v",)], ids="-".join)
def test_features_and_gradients_are_those_of_the_changed_weights(
    vit: VisionTransformer,
    timm_backbone: TimmBackbone,
    make_pack: MakePack,
    randomise: Randomise,
    pixels: Tensor,
    kinds: tuple[str, ...],
) -> None:
    method = make_pack(timm_backbone, "taps", *2 * ({"blocks": kinds},))
    randomise(method)
    features = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    features.square().sum().backward()
    images = (pixels / 255 - timm_backbone.mean) / timm_backbone.std

    for k in range(2):
        weights = {name: p.detach().clone() for name, p in vit.named_parameters()}
        changed = {}
        for name, block in zip(method.blocks, method.placed, strict=True):
            key = timm_backbone.linears[name].removeprefix("vit.") + ".weight"
            weights[key][block.outputs] += block.delta[k].detach()
            changed[name] = weights[key].requires_grad_()
        reference = functional_call(Features(vit), {f"vit.{n}": w for n, w in weights.items()}, images)
        reference.square().sum().backward()
        torch.testing.assert_close(features[k], reference, rtol=1e-4, atol=1e-4)
        for place, (name, block) in enumerate(zip(method.blocks, method.placed, strict=True)):
            gradient = changed[name].grad[block.outputs]
            tolerance = 1e-4 * gradient.abs().max().item()
            torch.testing.assert_close(block.delta.grad[k], gradient, rtol=1e-4, atol=tolerance)
            # Straight through: the indicator's gradient is the identity.
            expected = (gradient * block.delta[k]).sum()
            torch.testing.assert_close(method.gates.scores.grad[k, place], expected, rtol=1e-3, atol=1e-3)


class Features(torch.nn.Module):
    """What timm gives its classifier."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.vit.forward_head(self.vit.forward_features(images), pre_logits=True)
        return features


def test_a_closed_gate_switches_a_residual_off(
    any_backbone: Backbone, make_pack: MakePack, randomise: Randomise, pixels: Tensor
) -> None:
    method = make_pack(any_backbone, "taps", {}, {"threshold": 0.2, "initial_score": 0.2})
    randomise(method)
    with torch.no_grad():
        method.gates.scores[1] = 0.19
        method.gates.scores[0, 3] = 0.0
    features = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    assert torch.equal(features[1], any_backbone(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))[1])
    assert method.active_blocks() == [(*method.blocks[:3], *method.blocks[4:]), ()]
    sizes = [block.delta[0].numel() for block in method.placed]
    assert method.trained_parameters() == [sum(sizes) - sizes[3], 0]
    with torch.no_grad():
        method.placed[3].delta[0] = 0.0
        method.gates.scores[0, 3] = 1.0
    assert torch.equal(method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))[0], features[0])


def test_the_price_is_asked_after_the_free_epochs(timm_backbone: TimmBackbone, make_pack: MakePack) -> None:
    method = make_pack(timm_backbone, "taps", {"lambda": 2.0, "free_epochs": 2}, {"lambda": 0.5})
    asked = 2.0 * INITIAL, 0.5 * INITIAL
    assert method.penalty(1).tolist() == pytest.approx([0.0, asked[1]])
    assert method.penalty(2).tolist() == pytest.approx(list(asked))
