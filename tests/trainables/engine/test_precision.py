"""Passes in a narrow precision, and losses that are scaled for one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones.forward_pass import Entry, run
from trainables.engine import checkpoint
from trainables.engine.loss_scale import LossScale
from trainables.engine.optimizer import PackedAdamW
from trainables.engine.prefix import Prefix
from trainables.methods import METHODS

MakeSpace = Callable[..., Space]
NARROW = ("bfloat16", "float16")


class _Casts(TorchDispatchMode):
    """Where the tensors lie that are cast."""

    def __init__(self) -> None:
        super().__init__()
        self.of: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == "_to_copy":
            self.of.add(args[0].data_ptr())
        return func(*args, **kwargs or {})


def frozen(training: Training) -> dict[int, nn.Parameter]:
    """The weights of the image tower's linear layers that are not trained."""
    layers = [layer for layer in training.learner.method.backbone.image_layers() for layer in layer.modules()]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return {p.data_ptr(): p for layer in linear for p in layer.parameters() if not p.requires_grad}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("name", ["selective_lora", "taps", "top_k", "linear"])
@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_no_pass_casts_a_frozen_layer(
    request: pytest.FixtureRequest,
    make_space: MakeSpace,
    which: str,
    name: str,
    precision: str,
    checkpointing: bool,
) -> None:
    problem: Problem = request.getfixturevalue(which)
    settings = {"layers": 1} if name == "top_k" else {}
    space = make_space(name, settings, precision=precision, retention=0.5, checkpointing=checkpointing)
    made = Training(problem, [space])
    before = {place: p.clone() for place, p in frozen(made).items()}
    with _Casts() as casts:
        made.learner.loss(next(made._drawn(1)), 0).sum().backward()
    assert before and not casts.of & before.keys()
    # After a pass the weights are there as they were pre-trained.
    assert all(torch.equal(p, before[place]) for place, p in frozen(made).items())


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("name", [name for name in METHODS if name != "zero_shot"])
@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_the_numbers_are_autocasts(
    request: pytest.FixtureRequest, make_space: MakeSpace, which: str, name: str, precision: str
) -> None:
    problem: Problem = request.getfixturevalue(which)
    made = Training(problem, [make_space(name, precision=precision)])
    with torch.no_grad():
        for weight in made.learner.method.updates().values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=Generator().manual_seed(3)))
    method, pixels = made.learner.method, problem.task.val.pixels
    with torch.no_grad(), torch.autocast("cpu", getattr(torch, precision)), method.entered([(0, [0])]):
        theirs = run(method.backbone, [Entry(0, pixels)]).float()
    assert torch.equal(torch.cat(list(made.learner.encoder().parts(problem.task.val)), dim=1)[0], theirs)


@pytest.mark.parametrize("name", ["selective_lora", "taps"])
def test_closed_gates_are_the_pre_trained_model_to_the_bit_in_float16_and_with_a_prefix(
    problem: Problem, make_space: MakeSpace, name: str
) -> None:
    images = problem.task.val
    for precision in NARROW:
        spaces = [make_space(name, precision=precision)] * 2
        made = Training(problem, spaces, Prefix(problem.backbone, 1.0))
        with torch.no_grad():
            for weight in made.learner.method.updates().values():
                weight.add_(0.3)
            made.learner.method.gates.scores[1] = 0.0
            with torch.autocast("cpu", getattr(torch, precision)):
                untouched = problem.backbone(images.pixels).float()
        opened, closed = torch.cat(list(made.learner.encoder().parts(images)), dim=1)
        assert torch.equal(closed, untouched) and not torch.equal(opened, closed)


GRADIENTS = [1.0, 1e-4, torch.inf, 2.0, torch.nan, 3.0, 4.0, 5.0, -torch.inf, 6.0, *[0.5] * 10]
SIZES = (1.0, 0.0, -3.0)


def scaled_steps(monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, list[Tensor]]:
    """Weights after steps whose gradients go wrong at other times in each member, and the scales."""
    monkeypatch.setattr("trainables.engine.loss_scale._INTERVAL", 3)
    weight = torch.ones(len(SIZES), 2, requires_grad=True)
    scale, optimizer = LossScale(len(SIZES), weight.device), PackedAdamW([weight], [0.1] * 3, [0.1] * 3)
    scales = []
    for number in range(len(GRADIENTS)):
        weight.grad = torch.stack([torch.full((2,), gradient(k, number)) for k in range(len(SIZES))])
        weight.grad *= scale.scale[:, None]
        optimizer.step(1.0, moves=scale.unscale([weight.grad]))
        scales.append(scale.scale.clone())
    return weight.detach(), scales


def gradient(member: int, number: int) -> float:
    return GRADIENTS[(number + 3 * member) % len(GRADIENTS)]


def test_every_members_scale_is_torchs_grad_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, scales = scaled_steps(monkeypatch)
    for k in range(len(SIZES)):
        weight = torch.ones(2, requires_grad=True)
        scaler = torch.amp.GradScaler("cpu", growth_interval=3)
        optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.1)
        for number, ours in enumerate(scales):
            scaler.scale(weight.sum())  # it makes its scale at the first loss
            weight.grad = torch.full((2,), gradient(k, number)) * scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            assert ours[k].item() == scaler.get_scale()
        torch.testing.assert_close(packed[k], weight.detach(), rtol=1e-5, atol=1e-6)


def test_a_members_gradient_that_is_not_finite_stops_no_other(
    problem: Problem, make_space: MakeSpace
) -> None:
    made = Training(problem, [make_space("lora", precision="float16")] * 2)
    with torch.no_grad():
        made.scale.scale[1] = 2.0**100
    before = {name: p.detach().clone() for name, p in made.learner.trained().items()}
    made.run_batches(1)
    moved = {name: (p != before[name]).flatten(1).any(dim=1) for name, p in made.learner.trained().items()}
    assert all(not moved[name][1] for name in moved) and any(moved[name][0] for name in moved)
    assert made.scale.scale.tolist() == [2.0**16, 2.0**99]


def test_a_scale_is_saved_and_goes_on(problem: Problem, make_space: MakeSpace) -> None:
    space = make_space("full", precision="float16", lr=1e-4)
    first, second = Training(problem, [space]), Training(problem, [space])
    first.run_epoch()
    with torch.no_grad():
        first.scale.scale.fill_(64.0)
    checkpoint.restore(second, 0, checkpoint.capture(first, 0, []))
    assert second.scale.scale.tolist() == [64.0] and second.scale.made.tolist() == first.scale.made.tolist()
    for made in (first, second):
        made.run_epoch()
    theirs = second.learner.trained()
    assert all(torch.equal(p, theirs[name]) for name, p in first.learner.trained().items())
