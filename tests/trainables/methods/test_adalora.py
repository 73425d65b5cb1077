"""A budget of ranks, against peft's AdaLoRA."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, AdaLoraModel
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones import TimmBackbone
from trainables.methods import Adalora, Method

MakeSpace = Callable[..., Space]
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


def trained(problem: Problem, make_space: MakeSpace, *settings: dict[str, Any]) -> Training:
    training = Training(problem, [make_space("adalora", own, epochs=4, lr=1e-2) for own in settings])
    for _ in range(4):
        training.train_epoch()
    return training


def test_a_block_without_ranks_is_the_pre_trained_one(problem: Problem, make_space: MakeSpace) -> None:
    method = trained(problem, make_space, {**SETTINGS, "rank_fraction": 0.1}).learner.method
    (active,), untouched = method.active_blocks(), problem.backbone.state_dict()
    assert 0 < len(active) < len(method.blocks)
    merged = method.merged(0)
    trained_here = 0
    for name in method.blocks:
        path = f"{merged.linears[name]}.weight"
        assert torch.equal(merged.state_dict()[path], untouched[path]) == (name not in active)
        rank = torch.linalg.matrix_rank(merged.state_dict()[path] - untouched[path], atol=1e-6)
        trained_here += int(rank) * (sum(untouched[path].shape) + 1)
        assert (int(rank) > 0) == (name in active)
    assert method.trained_parameters() == [trained_here]
    assert method.gate_metrics() == [{"active_ranks": round(0.1 * RANK * len(method.blocks))}]


def test_members_with_other_budgets_train_as_they_would_alone(
    problem: Problem, make_space: MakeSpace
) -> None:
    own = [
        {"rank": 3, "rank_fraction": 0.2},
        {"rank": 6, "rank_fraction": 0.5, "orthogonality": 0.5},
        {"rank": 2, "rank_fraction": 1.0, "orthogonality": 0.0},
    ]
    pack = trained(problem, make_space, *own).learner.method
    for k, settings in enumerate(own):
        alone = trained(problem, make_space, settings).learner.method
        assert torch.equal(pack.kept()[k, :, : settings["rank"]], alone.kept()[0])
        for ours, theirs in zip(pack.placed, alone.placed, strict=True):
            torch.testing.assert_close(ours.matrices()[k], theirs.matrices()[0], rtol=1e-3, atol=1e-4)
