"""A budget of ranks, against peft's AdaLoRA."""

import copy
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from peft import AdaLoraConfig, AdaLoraModel
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.backbones import TimmBackbone
from trainables.methods import Adalora, Method

MakePack = Callable[..., Method]

STEPS, RAMP, RANK, FRACTION, PRICE = 20, 0.75, 4, 0.3, 0.1
SETTINGS = {"rank": RANK, "rank_fraction": FRACTION, "ramp": RAMP, "orthogonality": PRICE, "alpha": 6.0}
LAST = round(RAMP * STEPS)


class WithLoss(nn.Module):
    """A model as peft expects one, whose regulariser it adds to the loss."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, pictures: Tensor, labels: Tensor) -> SimpleNamespace:
        return SimpleNamespace(loss=cross_entropy(self.vit(pictures), labels))


def in_peft(backbone: TimmBackbone, ours: Adalora) -> AdaLoraModel:
    """peft's model with the factors and the budget of ours."""
    paths = [backbone.linears[name] for name in ours.blocks]
    config = AdaLoraConfig(
        init_r=RANK,
        lora_alpha=6,
        tinit=round(0.2 * LAST),
        tfinal=STEPS - LAST,
        total_step=STEPS,
        orth_reg_weight=PRICE,
        target_modules=paths,
    )
    theirs = AdaLoraModel(WithLoss(copy.deepcopy(backbone.vit).requires_grad_(False)), config, "default")
    for path, block in zip(paths, ours.placed, strict=True):
        layer = theirs.model.get_submodule(path)
        layer.lora_A["default"].data.copy_(block.down[0])
        layer.lora_B["default"].data.copy_(block.up[0])
        layer.ranknum["default"].fill_(RANK - 1e-5)  # peft divides by 1e-5 more
    return theirs


@pytest.fixture
def ours(timm_backbone: TimmBackbone, make_pack: MakePack) -> Adalora:
    method = make_pack(timm_backbone, "adalora", SETTINGS)
    assert isinstance(method, Adalora)
    method.schedule([1.0] * STEPS, 1)
    return method


def test_ranks_and_factors_are_those_of_peft(timm_backbone: TimmBackbone, ours: Adalora) -> None:
    theirs = in_peft(timm_backbone, ours)
    allocator = theirs.rankallocator
    layers = [theirs.model.get_submodule(timm_backbone.linears[name]) for name in ours.blocks]

    def budget(step: int) -> tuple[int, bool]:
        """Ours is rounded, theirs is cut off."""
        (count,) = ours._counts(step)
        return count, count < allocator.init_bgt

    allocator.budget_schedule = budget
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-2, weight_decay=0.0) for m in (ours, theirs)]
    generator = Generator().manual_seed(5)
    classifier = timm_backbone.vit.head
    ours.advance(0)
    for step in range(1, STEPS + 1):
        pixels = torch.randint(256, (16, 3, 16, 16), dtype=torch.uint8, generator=generator)
        labels = torch.randint(5, (16,), generator=generator)
        loss = cross_entropy(classifier(ours(pixels)), labels) + ours.penalty(0)
        loss.sum().backward()
        with ours.updated():
            optimizers[0].step()
        ours.advance(step)
        expected = theirs((pixels.float() / 255 - timm_backbone.mean) / timm_backbone.std, labels).loss
        expected.backward()
        optimizers[1].step()
        theirs.update_and_allocate(step)
        for optimizer in optimizers:
            optimizer.zero_grad()

        torch.testing.assert_close(loss[0], expected, rtol=1e-5, atol=1e-5)
        assert ours.kept().sum() == budget(step)[0]
        for place, (block, layer) in enumerate(zip(ours.placed, layers, strict=True)):
            values = layer.lora_E["default"].detach().flatten()
            assert torch.equal(ours.kept()[0, place], values != 0)
            torch.testing.assert_close(block.values[0].detach(), values, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(block.down[0], layer.lora_A["default"], rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(block.up[0], layer.lora_B["default"], rtol=1e-3, atol=1e-5)
    assert 0 < ours.open().sum() < len(ours.blocks)


def test_the_budget_falls_as_in_peft(timm_backbone: TimmBackbone, ours: Adalora) -> None:
    allocator = in_peft(timm_backbone, ours).rankallocator
    ends = ours._counts(LAST)
    allocator.target_bgt = ends[0]
    assert ends == [round(FRACTION * allocator.init_bgt)]
    for step in range(LAST + 1):
        count, budget = ours._counts(step)[0], allocator.budget_schedule(step)[0]
        assert 0 <= count - budget <= 1
