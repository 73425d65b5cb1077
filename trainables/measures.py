"""What is measured of a pack: accuracy on the task, accuracy that is retained on the probes."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from trainables.data import ImageSet

Split = Literal["val", "test"]
Metrics = dict[str, float]

# Shares of so many images differ by far more; what lies beyond is rounding, which must not decide a front.
_DIGITS = 9


def top1(logits: Tensor, labels: Tensor) -> list[float]:
    """Top-1 accuracy of each member in percent; NaN for a member whose logits are not all finite.

    Args:
        logits: (K, N, C).
        labels: (N,).
    """
    return _percent(_hits(logits, labels).mean(dim=1), logits)


def mean_per_class(logits: Tensor, labels: Tensor) -> list[float]:
    """Recall averaged over the classes that occur, in percent: scikit-learn's `balanced_accuracy_score`.

    Args:
        logits: (K, N, C).
        labels: (N,).

    Returns:
        One number a member; NaN for a member whose logits are not all finite.
    """
    hits, labels = _hits(logits, labels), labels.to(logits.device)
    counts = torch.bincount(labels, minlength=logits.shape[-1])
    by_class = hits.new_zeros(len(hits), len(counts)).index_add_(1, labels, hits)
    occur = counts > 0
    return _percent((by_class[:, occur] / counts[occur]).mean(dim=1), logits)


METRICS: dict[str, Callable[[Tensor, Tensor], list[float]]] = {
    "top1": top1,
    "mean_per_class": mean_per_class,
}
"""How answers are counted, by the name that a data set's ``metric`` gives."""


def accuracy(logits: Tensor, images: ImageSet) -> list[float]:
    """Accuracy of each member by the metric of the images, in percent, over the answers that are possible.

    Args:
        logits: (K, N, C).
        images: N.
    """
    labels = images.labels
    if images.answers is not None:
        logits, labels = logits[..., images.answers], torch.searchsorted(images.answers, labels)
    return METRICS[images.metric](logits, labels)


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, N), 1 for a right answer and 0 for another; in double precision, which counts exactly."""
    return (logits.argmax(dim=-1) == labels.to(logits.device)).double()


def _percent(shares: Tensor, logits: Tensor) -> list[float]:
    finite = torch.isfinite(logits).flatten(1).all(dim=1)
    accuracies: list[float] = torch.where(finite, shares * 100, torch.nan).tolist()
    return accuracies


def retention(scores: Mapping[str, float], reference: Mapping[str, float] | None, prefix: str) -> Metrics:
    """Retained accuracy and forgetting of one member.

    Retained accuracy is the mean over probes, in percent. Forgetting is the mean over probes of (before -
    after), in percentage points; negative where the probes improved.

    Args:
        scores: accuracy in percent by metric name (``probe/<name>``), as it is after training.
        reference: the same of the pre-trained model; None while it is itself being measured.
        prefix: put before every metric name: empty, or ``test/``.
    """
    named = {prefix + name: score for name, score in scores.items()}
    before = named if reference is None else reference
    return {
        **named,
        f"{prefix}retained_accuracy": round(fmean(named.values()), _DIGITS),
        f"{prefix}forgetting": round(fmean(before[name] - score for name, score in named.items()), _DIGITS),
    }


def out_of_distribution(accuracies: Mapping[str, float]) -> Metrics:
    """Accuracy on each shifted test set and their plain mean, in percent; nothing where there are none."""
    if not accuracies:
        return {}
    named = {f"test/ood/{name}": accuracy for name, accuracy in accuracies.items()}
    return {**named, "test/ood_accuracy": fmean(named.values())}


def by_member(columns: Mapping[str, Sequence[float]], size: int) -> list[Metrics]:
    """From one list for each name to one mapping for each of ``size`` members."""
    return [{name: column[k] for name, column in columns.items()} for k in range(size)]
