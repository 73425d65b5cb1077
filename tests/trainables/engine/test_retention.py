"""What keeps features, against scikit-learn's neighbours and the published formula in numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from torch import Generator, Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine.batch import Batch
from trainables.engine.retention import neighbor_loss

MakeSpace = Callable[..., Space]

NEAREST, TEMPERATURE, BIAS = 8, 0.1, 10.0


def neighbours(features: Tensor, count: int) -> np.ndarray:
    """(B, count): the nearest others by cosine."""
    found = NearestNeighbors(n_neighbors=count, metric="cosine").fit(features.numpy())
    near: np.ndarray = found.kneighbors(return_distance=False)
    return near


@pytest.mark.parametrize("size", [20, 9, 4, 2])
def test_the_loss_is_the_published_one(size: int) -> None:
    generator = Generator().manual_seed(0)
    before = torch.randn(3, size, 5, generator=generator)
    features = before + torch.randn(3, size, 5, generator=generator)
    found = neighbor_loss(features, before)
    for k in range(3):
        near = neighbours(before[k], min(NEAREST, size - 1))
        known, cosines = cosine_similarity(before[k]), cosine_similarity(features[k])
        pairs = [(i, j) for i in range(size) for j in range(size) if i != j]
        signs = [1 if j in near[i] else -1 for i, j in pairs]
        each = [
            np.log1p(np.exp(sign * known[i, j] * (BIAS - cosines[i, j] / TEMPERATURE)))
            for sign, (i, j) in zip(signs, pairs, strict=True)
        ]
        np.testing.assert_allclose(found[k].item(), np.mean(each), rtol=1e-5)


def test_a_picture_alone_has_no_neighbours() -> None:
    features = torch.randn(2, 1, 5, requires_grad=True)
    loss = neighbor_loss(features, torch.randn(2, 1, 5))
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(2)) and torch.isfinite(features.grad).all()


def test_each_member_has_its_weight(problem: Problem, make_space: MakeSpace) -> None:
    weights = (0.0, 0.5, 4.0)
    train = problem.task.train
    batch = Batch(train, torch.arange(len(train))[None])
    with_it, without = (
        Training(problem, [make_space("lora", neighbors=weight) for weight in own]).learner.loss(batch, 0)
        for own in (weights, (0.0,) * 3)
    )
    features = problem.backbone(train.pixels)[None]
    expected = torch.tensor(weights) * neighbor_loss(features, features)
    torch.testing.assert_close(with_it - without, expected, rtol=1e-4, atol=1e-5)


def test_training_with_it_keeps_neighbours(problem: Problem, make_space: MakeSpace) -> None:
    spaces = [make_space("lora", neighbors=weight, lr=1e-2, epochs=6, batch_size=24) for weight in (0, 10)]
    training = Training(problem, spaces)
    for _ in range(training.epochs):
        training.run_epoch()
    train = problem.task.train
    before = neighbours(F.normalize(problem.backbone(train.pixels), dim=-1), NEAREST)
    kept = []
    for features in torch.cat(list(training.learner.encoder().parts(train)), dim=1):
        now = neighbours(F.normalize(features, dim=-1), NEAREST)
        kept.append(np.mean([len(set(a) & set(b)) for a, b in zip(before, now, strict=True)]))
    assert kept[1] > kept[0] + 1
