import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Generator, Tensor

from trainables.engine.linear_fit import fit_linear

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


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("decay", [1e-3, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-3), (torch.float32, 5e-3)])
def test_the_fit_is_that_of_scikit_learn(
    bias: bool, decay: float, dtype: torch.dtype, tolerance: float
) -> None:
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
