"""The low-rank methods against peft and the untouched model, and what no method may change."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from open_clip import CLIP
from peft import LoraConfig, inject_adapter_in_model
from torch import Generator, Tensor, nn

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones import KINDS, ClipBackbone
from trainables.methods import METHODS, Method
from trainables.methods.blocks import LowRankBlock

MakeSpace = Callable[..., Space]

RANKS, ALPHAS = (4, 2), (6.0, 1.0)
LOW_RANK = ("lora", "selective_lora")


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(256, (5, 3, 16, 16), dtype=torch.uint8, generator=Generator().manual_seed(2))


def blocks_of(method: Method) -> dict[str, LowRankBlock]:
    blocks = {name: method.backbone.get_submodule(method.backbone.linears[name]) for name in method.blocks}
    assert all(isinstance(block, LowRankBlock) for block in blocks.values())
    return blocks


@torch.no_grad()
def randomise(method: Method) -> None:
    """Gives every B random values, and leaves its padding at zero."""
    generator = Generator().manual_seed(3)
    for block in blocks_of(method).values():
        block.up.normal_(generator=generator).mul_(block.scale[:, None, :] != 0)


@pytest.fixture
def make_method(backbone: ClipBackbone, make_space: MakeSpace) -> Callable[..., Method]:
    """Gives a pack of two members of different ranks and alphas."""

    def make(name: str, **settings: Any) -> Method:
        members = [
            make_space(name, {"rank": rank, "alpha": alpha, **settings}).method
            for rank, alpha in zip(RANKS, ALPHAS, strict=True)
        ]
        return METHODS[name](backbone, members, [Generator().manual_seed(seed) for seed in (0, 1)])

    return make


@pytest.mark.parametrize("kinds", [KINDS, *((kind,) for kind in KINDS)], ids="-".join)
@pytest.mark.parametrize("name", LOW_RANK)
def test_with_all_gates_open_each_member_is_pefts_lora(
    backbone: ClipBackbone,
    make_method: Callable[..., Method],
    pixels: Tensor,
    name: str,
    kinds: tuple[str, ...],
) -> None:
    """Features and gradients, to 1e-4 of their size."""
    method = make_method(name, blocks=kinds)
    randomise(method)
    features = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    features.square().sum().backward()
    assert not torch.allclose(features[0], backbone(pixels), rtol=0.1)

    for k, (rank, alpha) in enumerate(zip(RANKS, ALPHAS, strict=True)):
        fork = backbone.fork()
        paths = {block: fork.linears[block] for block in method.blocks}
        peft = inject_adapter_in_model(
            LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(paths.values())), fork
        )
        theirs = {block: peft.get_submodule(path) for block, path in paths.items()}
        with torch.no_grad():
            for block, mine in blocks_of(method).items():
                theirs[block].lora_A["default"].weight.copy_(mine.down[k, :rank])
                theirs[block].lora_B["default"].weight.copy_(mine.up[k, :, :rank])
        expected = peft(pixels)
        expected.square().sum().backward()

        torch.testing.assert_close(features[k], expected, rtol=1e-4, atol=1e-4)
        for block, mine in blocks_of(method).items():
            down = theirs[block].lora_A["default"].weight.grad
            up = theirs[block].lora_B["default"].weight.grad
            for gradient, reference in ((mine.down.grad[k, :rank], down), (mine.up.grad[k, :, :rank], up)):
                torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-4 * reference.abs().max())


def test_with_every_gate_closed_it_is_the_untouched_model_to_the_bit(
    clip: CLIP, make_method: Callable[..., Method], pixels: Tensor
) -> None:
    """With gradients on: without them nn.MultiheadAttention takes a fused path that rounds otherwise."""
    method = make_method("selective_lora", initial_score=0.05)
    randomise(method)
    with torch.enable_grad():
        both = pixels.repeat(2, 1, 1, 1)
        untouched = clip.encode_image((both.float() / 255 - method.backbone.mean) / method.backbone.std)
        features = method(both)
    assert torch.equal(features, untouched)
    assert method.active_blocks() == [(), ()]


def test_a_closed_gate_switches_off_one_block_of_one_member(
    make_method: Callable[..., Method], pixels: Tensor
) -> None:
    method = make_method("selective_lora")
    randomise(method)
    before = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    with torch.no_grad():
        method.gates.scores[1, 2] = 0.0
    after = method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    assert torch.equal(after[0], before[0]) and not torch.allclose(after[1], before[1])
    assert method.active_blocks() == [method.blocks, (*method.blocks[:2], *method.blocks[3:])]

    with torch.no_grad():
        blocks_of(method)[method.blocks[2]].up[1] = 0.0
        method.gates.scores[1, 2] = 1.0
    assert torch.equal(method(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1)), after)


@pytest.mark.parametrize("name", LOW_RANK)
def test_training_starts_from_the_pre_trained_model(
    backbone: ClipBackbone, make_method: Callable[..., Method], pixels: Tensor, name: str
) -> None:
    features = make_method(name)(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1))
    assert torch.equal(features, backbone(pixels.repeat(2, 1, 1, 1)).unflatten(0, (2, -1)))


@pytest.mark.parametrize("name", LOW_RANK)
def test_a_starts_uniform_as_in_peft_and_differs_by_member(
    make_method: Callable[..., Method], name: str
) -> None:
    for block in blocks_of(make_method(name)).values():
        reference = nn.Linear(block.linear.in_features, 64)  # kaiming_uniform_(a=sqrt(5)), as peft has it
        bound = 1 / math.sqrt(block.linear.in_features)
        assert reference.weight.abs().max() <= bound
        for k, rank in enumerate(RANKS):
            assert 0.9 * bound < block.down[k, :rank].abs().max() <= bound
        assert not torch.equal(block.down[0, :2], block.down[1, :2])
        assert not block.up.any()


@pytest.mark.parametrize("name", LOW_RANK)
def test_every_adapter_parameter_gets_a_gradient(
    make_method: Callable[..., Method], pixels: Tensor, name: str
) -> None:
    method = make_method(name)
    randomise(method)
    method(pixels.repeat(2, 1, 1, 1)).square().sum().backward()
    for block in blocks_of(method).values():
        for k, rank in enumerate(RANKS):
            assert block.down.grad[k, :rank].any(dim=1).all()
            assert block.up.grad[k, :, :rank].any(dim=0).all()
        assert block.linear.weight.grad is None
    if name == "selective_lora":
        assert method.gates.scores.grad.all()


@pytest.mark.parametrize("name", LOW_RANK)
def test_padding_has_no_say(make_method: Callable[..., Method], pixels: Tensor, name: str) -> None:
    """Whatever it holds, a member's features do not depend on it and it gets no gradient."""
    method = make_method(name)
    randomise(method)
    before = method(pixels.repeat(2, 1, 1, 1))
    with torch.no_grad():
        for block in blocks_of(method).values():
            block.down[1, RANKS[1] :] = 1.0
            block.up[1, :, RANKS[1] :] = 1.0
    after = method(pixels.repeat(2, 1, 1, 1))
    assert torch.equal(after, before)
    after.square().sum().backward()
    for block in blocks_of(method).values():
        assert not block.down.grad[1, RANKS[1] :].any() and not block.up.grad[1, :, RANKS[1] :].any()


@pytest.mark.parametrize("name", LOW_RANK)
def test_padding_stays_at_zero(problem: Problem, make_space: MakeSpace, name: str) -> None:
    spaces = [make_space(name, {"rank": rank}, lr=0.05, weight_decay=0.1) for rank in (1, 4)]
    training = Training(problem, spaces)
    for _ in range(training.epochs):
        training.run_epoch()
    for block in blocks_of(training.learner.method).values():
        assert not block.down[0, 1:].any() and not block.up[0, :, 1:].any()
        assert block.up[0, :, :1].any() and block.up[1].any(dim=0).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_backbone_that_was_passed_in_is_not_changed(
    problem: Problem, make_space: MakeSpace, name: str
) -> None:
    def frozen() -> dict[str, Tensor]:
        return {**dict(problem.backbone.named_parameters()), **dict(problem.backbone.named_buffers())}

    before = {key: tensor.clone() for key, tensor in frozen().items()}
    every_block = {"active_blocks": 8} if name in ("random_blocks", "largest_norm") else {}
    training = Training(problem, [make_space(name, every_block, lr=0.05)])
    start = {key: tensor.detach().clone() for key, tensor in training.learner.trained().items()}
    for _ in range(training.epochs):
        training.run_epoch()

    assert frozen().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in frozen().items())
    assert not any(tensor.requires_grad for tensor in frozen().values())
    moved = {key for key, tensor in training.learner.trained().items() if not torch.equal(tensor, start[key])}
    assert moved == start.keys() and bool(moved) == (name != "zero_shot")


@pytest.mark.parametrize("name", METHODS)
def test_a_pack_is_refused_by_methods_that_cannot_share(
    problem: Problem, make_space: MakeSpace, name: str
) -> None:
    spaces = [make_space(name), make_space(name)]
    if METHODS[name].packable:
        assert Training(problem, spaces).learner.size == 2
    else:
        with pytest.raises(ValueError, match="trains one member at a time, got 2"):
            Training(problem, spaces)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_plain_layer_in_one_go_is_the_layer_and_its_update(
    make_method: Callable[..., Method], monkeypatch: pytest.MonkeyPatch, precision: torch.dtype
) -> None:
    block = blocks_of(make_method("selective_lora"))["image.1.fc1"]
    with torch.no_grad():
        block.up.normal_(generator=Generator().manual_seed(3))
    x = torch.randn(2 * 3, 5, block.in_features, generator=Generator().manual_seed(4))

    def passed() -> list[Tensor]:
        own = x.clone().requires_grad_()
        trained = [own, *block.parameters(recurse=False)]
        with torch.autocast("cpu", precision, precision == torch.bfloat16):
            outputs = block(own)
        outputs.square().sum().backward()
        gradients = [p.grad for p in trained if p.grad is not None]
        for p in trained:
            p.grad = None
        return [outputs.detach(), *gradients]

    in_one = passed()
    monkeypatch.setattr(LowRankBlock, "_plain", False)
    apart = passed()
    assert len(in_one) == 4
    exact = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(
        in_one, apart, **({"rtol": 0.05, "atol": 2.0} if precision == torch.bfloat16 else exact)
    )
    monkeypatch.setattr(LowRankBlock, "_plain", True)
    with torch.no_grad():
        assert torch.equal(block(x), in_one[0]) or precision == torch.bfloat16
