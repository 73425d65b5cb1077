"""What is measured of a pack: accuracy on the task, accuracy that is retained on the probes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from trainables.data import ImageSet

Split = Literal["val", "test"]
Metrics = dict[str, float]

# Shares of so many images differ by far more; what lies beyond is rounding, which must not decide a front.
_DIGITS = 9


_UNSOUND = -1  # the answer where a logit is not finite


def answers(logits: Tensor) -> Tensor:
    """The class that each member names, (K, N), of logits (K, N, C); -1 where these are not all finite."""
    return logits.argmax(dim=-1).where(torch.isfinite(logits).all(dim=-1), _UNSOUND)


def top1(found: Tensor, labels: Tensor) -> list[float]:
    """Top-1 accuracy of each member in percent; NaN for a member with an answer from logits not finite.

    Args:
        found: `answers`, (K, N).
        labels: (N,).
    """
    return _percent((found == labels).double().mean(dim=1), found)


def mean_per_class(found: Tensor, labels: Tensor) -> list[float]:
    """Recall averaged over the classes that occur, in percent: scikit-learn's `balanced_accuracy_score`.

    Args:
        found: `answers`, (K, N).
        labels: (N,).

    Returns:
        One number a member; NaN for a member with an answer from logits not finite.
    """
    counts, hits = torch.bincount(labels), (found == labels).double()  # double precision counts exactly
    by_class = hits.new_zeros(len(hits), len(counts)).index_add_(1, labels, hits)
    occur = counts > 0
    return _percent((by_class[:, occur] / counts[occur]).mean(dim=1), found)


METRICS: dict[str, Callable[[Tensor, Tensor], list[float]]] = {
    "top1": top1,
    "mean_per_class": mean_per_class,
}
"""How answers are counted, by the name that a data set's ``metric`` gives."""


def accuracy(logits: Iterable[Tensor], images: ImageSet) -> list[float]:
    """Accuracy of each member by the metric of the images, in percent, over the answers that are possible.

    Args:
        logits: (K, n, C) of some images after the other.
        images: N.
    """
    possible, labels = images.answers, images.labels
    if possible is not None:
        logits = (part[..., possible] for part in logits)
        labels = torch.searchsorted(possible, labels)
    found = torch.cat([answers(part) for part in logits], dim=1)
    return METRICS[images.metric](found, labels.to(found.device))


def _percent(shares: Tensor, found: Tensor) -> list[float]:
    sound = (found != _UNSOUND).all(dim=1)
    accuracies: list[float] = torch.where(sound, shares * 100, torch.nan).tolist()
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
