"""New layers that start as the identity, against a plain and deeper model of timm."""

import copy
from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones import Backbone, TimmBackbone
from trainables.methods import Method
from trainables.methods.block_expansion import expanded_after

MakePack = Callable[..., Method]
MakeSpace = Callable[..., Space]

# Of the paper: p = 1 sits after layer 11 of 12, counted from 0.
PLACES = [(12, 1, [11]), (12, 2, [5, 11]), (12, 3, [3, 7, 11]), (12, 4, [2, 5, 8, 11]), (2, 2, [0, 1])]


@torch.no_grad()
def open_up(method: Method) -> list[torch.nn.Parameter]:
    """Moves the new layers off the identity; gives their parameters."""
    new = [p for p in method.backbone.parameters() if p.requires_grad]
    generator = Generator().manual_seed(3)
    for parameter in new:
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return new


@pytest.mark.parametrize("layers", [1, 2])
def test_it_starts_as_the_pre_trained_model_to_the_bit(
    any_backbone: Backbone, make_pack: MakePack, pixels: Tensor, layers: int
) -> None:
    method = make_pack(any_backbone, "block_expansion", {"layers": layers})
    assert torch.equal(method(pixels), any_backbone(pixels))
    assert method.backbone.depth("image") == any_backbone.depth("image") + layers
    open_up(method)
    assert not torch.allclose(method(pixels), any_backbone(pixels), rtol=0.1)


@pytest.mark.parametrize(("depth", "layers", "places"), PLACES)
def test_a_copy_follows_every_so_manyth_layer(depth: int, layers: int, places: list[int]) -> None:
    assert expanded_after(depth, layers) == places


@pytest.mark.parametrize(("depth", "layers", "places"), PLACES)
def test_the_new_layers_are_copies_of_those_before_them(
    make_pack: MakePack, vit: VisionTransformer, depth: int, layers: int, places: list[int]
) -> None:
    deep = VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=depth, num_heads=2)
    deep.pretrained_cfg = dict(vit.pretrained_cfg)
    method = make_pack(TimmBackbone(deep), "block_expansion", {"layers": layers})
    grown = list(method.backbone.vit.blocks)
    new = [place for place, layer in enumerate(grown) if next(layer.parameters()).requires_grad]
    assert new == [place + 1 + before for before, place in enumerate(places)]
    for place in new:
        before, own = grown[place - 1].state_dict(), grown[place].state_dict()
        zeroed = {key for key, tensor in own.items() if not torch.equal(tensor, before[key])}
        # The biases are zero in a fresh ViT already.
        assert zeroed == {"attn.proj.weight", "mlp.fc2.weight"}
        assert not any(own[key].any() for key in zeroed)


def test_it_is_timms_deeper_model(
    vit: VisionTransformer, timm_backbone: TimmBackbone, make_pack: MakePack, pixels: Tensor
) -> None:
    method = make_pack(timm_backbone, "block_expansion", {"layers": 2})
    open_up(method)
    deeper = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=4, num_heads=2, num_classes=5
    ).eval()
    deeper.load_state_dict(method.backbone.plain_state())
    images = (pixels / 255 - timm_backbone.mean) / timm_backbone.std
    expected = deeper.forward_head(deeper.forward_features(images), pre_logits=True)
    torch.testing.assert_close(method(pixels), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_new_layers_alone_get_gradients_all_of_them(
    any_backbone: Backbone, make_pack: MakePack, pixels: Tensor, layers: int
) -> None:
    method = make_pack(any_backbone, "block_expansion", {"layers": layers})
    new = open_up(method)
    method(pixels).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in new)
    assert {id(p) for p in method.backbone.parameters() if p.grad is not None} == {id(p) for p in new}
    layer = any_backbone.get_submodule(f"{any_backbone.layers['image']}.0")
    assert method.trained_parameters() == [layers * sum(p.numel() for p in layer.parameters())]
    assert method.active_blocks() == [()] and len(method.blocks) == 8


@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_the_new_layers_and_the_head_train(
    request: pytest.FixtureRequest, make_space: MakeSpace, which: str
) -> None:
    problem: Problem = request.getfixturevalue(which)
    training = Training(problem, [make_space("block_expansion", epochs=4, batch_size=24, lr=1e-2)])
    before = copy.deepcopy(training.learner.method.backbone.state_dict())
    losses = [training.run_epoch()[0]["loss"] for _ in range(training.epochs)]
    assert losses[-1] < 0.9 * losses[0]
    after = training.learner.method.backbone.state_dict()
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    new = f"{problem.backbone.layers['image']}.2."
    assert moved == {key for key in after if key.startswith(new)}
