"""The last layers alone, against the plain model's own gradients."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainables.backbones import Backbone
from trainables.methods import Method

MakePack = Callable[..., Method]


@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_layers_train_with_the_plain_models_gradients(
    any_backbone: Backbone, make_pack: MakePack, pixels: Tensor, layers: int
) -> None:
    method = make_pack(any_backbone, "top_k", {"layers": layers})
    assert torch.equal(method(pixels), any_backbone(pixels))
    method(pixels).square().sum().backward()
    plain = copy.deepcopy(any_backbone).requires_grad_(True)
    plain(pixels).square().sum().backward()

    path = any_backbone.layers["image"]
    expected = dict(plain.named_parameters())
    last = {name for name in expected if name.startswith(tuple(f"{path}.{n}." for n in range(2 - layers, 2)))}
    trained = {name: p for name, p in method.backbone.named_parameters() if p.requires_grad}
    assert trained.keys() == last
    for name, parameter in trained.items():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-5, atol=1e-5)
        assert parameter.grad.any()
    assert all(p.grad is None for name, p in method.backbone.named_parameters() if name not in last)
    assert method.trained_parameters() == [sum(expected[name].numel() for name in last)]


def test_its_active_blocks_are_those_of_the_last_layers(any_backbone: Backbone, make_pack: MakePack) -> None:
    method = make_pack(any_backbone, "top_k", {"layers": 1})
    blocks = tuple(f"image.1.{kind}" for kind in ("qkv", "proj", "fc1", "fc2"))
    assert method.active_blocks() == [blocks] and len(method.blocks) == 8
