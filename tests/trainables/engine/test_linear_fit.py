import errno
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.engine import linear_fit
from trainables.engine.linear_fit import fit_linear, gathered, moments

CLASSES = 5


def rows(dtype: torch.dtype, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Overlapping clouds whose features differ in scale and lie off the origin."""
    generator = Generator().manual_seed(0)
    labels = torch.arange(200) % classes
    centres = torch.randn(classes, 8, generator=generator)
    noise = 1.5 * torch.randn(200, 8, generator=generator)
    return ((centres[labels] + noise) * torch.linspace(0.3, 3, 8) + 0.5).to(dtype), labels


def objective(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, decay: float) -> float:
    """In numpy, by its definition."""
    logits = features.double().numpy() @ weight.double().numpy().T + bias.double().numpy()
    log_sums = np.log(np.exp(logits).sum(axis=1))
    losses = log_sums - logits[np.arange(len(logits)), labels.numpy()]
    return float(losses.mean() + decay / 2 * (weight.double().numpy() ** 2).sum())


# Values that are looked at at a time: all of them, and those of 70 rows of 200.
@pytest.mark.parametrize("block", [2**24, 70 * 8])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("decay", [1e-3, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-3), (torch.float32, 5e-3)])
def test_the_fit_is_that_of_scikit_learn(
    bias: bool,
    decay: float,
    dtype: torch.dtype,
    tolerance: float,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear_fit, "BLOCK", block)
    features, labels = rows(dtype)
    weight, offset = fit_linear(features, labels, CLASSES, decay, bias=bias)
    oracle = LogisticRegression(C=1 / (decay * len(labels)), fit_intercept=bias, tol=1e-8, max_iter=10_000)
    oracle.fit(features.double().numpy(), labels.numpy())
    intercept = oracle.intercept_ if bias else np.zeros(CLASSES)
    theirs = torch.from_numpy(oracle.coef_), torch.from_numpy(intercept)

    assert weight.dtype == offset.dtype == dtype
    assert weight.numpy() == pytest.approx(oracle.coef_, abs=tolerance)
    assert offset.numpy() == pytest.approx(intercept, abs=tolerance)
    assert objective(features, labels, weight, offset, decay) == pytest.approx(
        objective(features, labels, *theirs, decay), rel=1e-5
    )


def test_the_start_does_not_change_where_it_ends() -> None:
    features, labels = rows(torch.float64)
    start = torch.randn(CLASSES, 8, generator=Generator().manual_seed(1))
    kept = start.clone()
    weight, _ = fit_linear(features, labels, CLASSES, 0.01, start, bias=False)
    assert weight.numpy() == pytest.approx(
        fit_linear(features, labels, CLASSES, 0.01, bias=False)[0].numpy(), abs=2e-3
    )
    assert torch.equal(start, kept)


def test_a_class_that_no_row_has_is_never_the_answer() -> None:
    features, labels = rows(torch.float32)
    weight, bias = fit_linear(features, labels, CLASSES + 1)
    assert weight.shape == (CLASSES + 1, 8)
    assert (features @ weight.T + bias).argmax(dim=1).max() < CLASSES


def test_rows_of_inference_mode_are_fitted_in_and_outside_of_it() -> None:
    weight, bias = fit_linear(*rows(torch.float32), CLASSES)
    with torch.inference_mode():
        features, labels = rows(torch.float32)
        inside = fit_linear(features, labels, CLASSES)
    outside = fit_linear(features, labels, CLASSES)
    for fitted in (inside, outside):
        assert torch.equal(fitted[0], weight) and torch.equal(fitted[1], bias)
        assert not fitted[0].requires_grad and not fitted[0].is_inference()


class _Largest(TorchDispatchMode):
    """How many values the largest tensor has that an operation makes; views of others are not made."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **kwargs or {})
        if isinstance(made, Tensor) and not func.is_view:
            given = {t.untyped_storage().data_ptr() for t in args if isinstance(t, Tensor)}
            if made.untyped_storage().data_ptr() not in given:
                self.values = max(self.values, made.numel())
        return made


def test_what_is_held_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    block = 40 * 8
    monkeypatch.setattr(linear_fit, "BLOCK", block)
    features, labels = rows(torch.float32)
    members = torch.stack([features, features.flip(0)])
    with _Largest() as largest:
        whole = gathered(members.split(20, dim=1), len(labels))
        mean, deviation = moments(whole[0])
        fit_linear(whole[0], labels, CLASSES, prepare=lambda some: (some - mean) / deviation)
    assert torch.equal(whole, members)
    # The labels are copied once; L-BFGS keeps weights, of 5 classes.
    assert len(labels) <= largest.values <= block < members.numel()


@pytest.mark.parametrize("block", [2**24, 70 * 8])
def test_the_moments_are_those_of_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_fit, "BLOCK", block)
    features, _ = rows(torch.float32)
    oracle = StandardScaler().fit(features.double().numpy())
    mean, deviation = moments(features)
    assert mean.numpy() == pytest.approx(oracle.mean_, rel=1e-6)
    assert deviation.numpy() == pytest.approx(oracle.scale_, rel=1e-6)


def test_features_that_fill_the_disk_are_an_error_before_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear_fit, "BLOCK", 10)
    parts = (torch.zeros(1, 2, 8) for _ in range(2))
    with pytest.raises(OSError) as told:
        gathered(parts, 2**50)
    assert told.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert len(list(parts)) == 1
