"""Updates outside what leads, against numpy's decomposition and autograd on the weights themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, normalize

from search_spaces import Space
from trainables import Problem, Training
from trainables.methods import METHODS, Method
from trainables.methods.keeplora import ResidualBlock

MakeSpace = Callable[..., Space]

RANK = 3


def trained(problem: Problem, make_space: MakeSpace, *settings: dict[str, Any]) -> Training:
    training = Training(problem, [make_space("keeplora", own, epochs=3, lr=1e-2) for own in settings])
    for _ in range(3):
        training.train_epoch()
    return training


def block_of(method: Method, problem: Problem, name: str) -> ResidualBlock:
    """The parts of qkv lie one in the other."""
    block = method.backbone.get_submodule(method.backbone.linears[name])
    while block.outputs != problem.backbone.outputs(name):
        block = block.linear
    assert isinstance(block, ResidualBlock)
    return block


def gradients(problem: Problem) -> dict[str, Tensor]:
    """Of the mean loss of all training pictures, on the pre-trained weights themselves."""
    backbone, train = problem.backbone, problem.task.train
    layers = {path: backbone.get_submodule(path).weight for path in set(backbone.linears.values())}
    for weight in layers.values():
        weight.requires_grad_(True)
    features = normalize(backbone(train.pixels), dim=-1)
    cross_entropy(backbone.logit_scale * features @ problem.class_vectors.T, train.labels).backward()
    found = {path: weight.grad for path, weight in layers.items()}
    for weight in layers.values():
        weight.requires_grad_(False)
        weight.grad = None
    return found


def leading(weight: NDArray[Any], energy: float) -> NDArray[Any]:
    """(in, k): the fewest right singular vectors that hold so much of the squared singular values."""
    _, values, right = np.linalg.svd(weight, full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(values**2) / np.sum(values**2), energy)) + 1 if energy else 0
    return right[:kept].T


@pytest.mark.parametrize("blocks", [("qkv", "proj", "fc1", "fc2"), ("q", "v")])
def test_a_sees_the_gradient_and_nothing_that_leads(
    problem: Problem, make_space: MakeSpace, blocks: tuple[str, ...]
) -> None:
    energies, expected = (0.5, 0.9, 0.0), gradients(problem)
    own = [{"energy": e, "blocks": blocks, "rank": RANK} for e in energies]
    method = trained(problem, make_space, *own).learner.method
    for k, energy in enumerate(energies):
        for name in method.blocks:
            block, path = block_of(method, problem, name), problem.backbone.linears[name]
            before = problem.backbone.get_submodule(path).weight
            right = leading(before[block.outputs].detach().double().numpy(), energy)
            gradient = expected[path][block.outputs].double().numpy()
            outside = gradient - gradient @ right @ right.T
            turned = np.linalg.svd(outside, full_matrices=False)[2][:RANK]
            a = block.down[k].double().numpy()
            np.testing.assert_allclose(a.T @ a, turned.T @ turned, atol=1e-3)
            update = block.matrices()[k].detach().double().numpy()
            assert np.abs(update).max() > 1e-4
            np.testing.assert_allclose(update @ right, 0, atol=1e-6)


def test_b_alone_is_trained(problem: Problem, make_space: MakeSpace) -> None:
    training = trained(problem, make_space, {"rank": RANK})
    own = [name for name in training.learner.trained() if name.startswith("method.")]
    assert own and all(name.endswith(".up") for name in own)
    assert training.learner.method.trained_parameters() == [
        sum(training.learner.trained()[name].numel() for name in own)
    ]


def test_without_a_gradient_it_is_lora_on_the_residual(
    problem: Problem, make_space: MakeSpace, pixels: Tensor
) -> None:
    """Before a training, and with nothing kept, A is that of LoRA."""

    def made(name: str, **own: Any) -> Method:
        settings = make_space(name, {"rank": RANK, **own}).method
        method = METHODS[name](problem.backbone, [settings], [Generator().manual_seed(0)])
        with torch.no_grad():
            for block in method.placed:
                block.up.normal_(generator=Generator().manual_seed(1))
        return method

    torch.testing.assert_close(made("keeplora", energy=0.0)(pixels), made("lora")(pixels))


def test_members_with_other_shares_train_as_they_would_alone(problem: Problem, make_space: MakeSpace) -> None:
    own = [{"energy": 0.3, "rank": 2}, {"energy": 0.9, "rank": 4}, {"energy": 0.0, "rank": 1}]
    pack = trained(problem, make_space, *own)
    for k, settings in enumerate(own):
        alone = trained(problem, make_space, settings)
        for ours, theirs in zip(pack.learner.method.placed, alone.learner.method.placed, strict=True):
            torch.testing.assert_close(ours.matrices()[k], theirs.matrices()[0], rtol=1e-3, atol=1e-4)
