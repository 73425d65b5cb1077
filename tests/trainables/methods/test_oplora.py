"""Updates outside the leading singular directions, against numpy's decomposition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.methods import METHODS, Method
from trainables.methods.oplora import OutsideBlock

MakeSpace = Callable[..., Space]


def trained(problem: Problem, make_space: MakeSpace, *settings: dict[str, Any]) -> Training:
    training = Training(problem, [make_space("oplora", own, epochs=3, lr=1e-2) for own in settings])
    for _ in range(3):
        training.train_epoch()
    return training


@pytest.mark.parametrize("blocks", [("qkv", "proj", "fc1", "fc2"), ("q", "v")])
def test_the_leading_singular_triples_stay(
    problem: Problem, make_space: MakeSpace, blocks: tuple[str, ...]
) -> None:
    energies = (0.5, 0.9)
    training = trained(problem, make_space, *({"energy": e, "blocks": blocks} for e in energies))
    method = training.learner.method
    for k, energy in enumerate(energies):
        for name in method.blocks:
            block = method.backbone.get_submodule(method.backbone.linears[name])
            while block.outputs != problem.backbone.outputs(name):
                block = block.linear  # the parts of qkv lie one in the other
            assert isinstance(block, OutsideBlock)
            before = problem.backbone.get_submodule(problem.backbone.linears[name]).weight
            whole = before[block.outputs].detach().double().numpy()
            update = block.matrices()[k].detach().double().numpy()
            assert np.abs(update).max() > 1e-4
            left, values, right = np.linalg.svd(whole, full_matrices=False)
            kept = int(np.searchsorted(np.cumsum(values**2) / np.sum(values**2), energy)) + 1
            assert 0 < kept < len(values)
            adapted = whole + update
            lead = left[:, :kept] * values[:kept] @ right[:kept]
            np.testing.assert_allclose(adapted @ right[:kept].T, lead @ right[:kept].T, atol=1e-5)
            np.testing.assert_allclose(left[:, :kept].T @ adapted, left[:, :kept].T @ lead, atol=1e-5)


def test_where_nothing_is_kept_it_is_lora(problem: Problem, make_space: MakeSpace, pixels: Tensor) -> None:
    def made(name: str, **own: Any) -> Method:
        settings = make_space(name, {"rank": 4, **own}).method
        method = METHODS[name](problem.backbone, [settings], [Generator().manual_seed(0)])
        with torch.no_grad():
            for block in method.placed:
                block.up.normal_(generator=Generator().manual_seed(1))
        return method

    torch.testing.assert_close(made("oplora", energy=0.0)(pixels), made("lora")(pixels))


def test_members_with_other_shares_train_as_they_would_alone(problem: Problem, make_space: MakeSpace) -> None:
    own = [{"energy": 0.3}, {"energy": 0.95}, {"energy": 0.0}]
    pack = trained(problem, make_space, *own)
    for k, settings in enumerate(own):
        alone = trained(problem, make_space, settings)
        for ours, theirs in zip(pack.learner.method.placed, alone.learner.method.placed, strict=True):
            torch.testing.assert_close(ours.matrices()[k], theirs.matrices()[0], rtol=1e-3, atol=1e-4)
