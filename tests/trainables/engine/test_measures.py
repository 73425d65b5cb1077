import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import Generator

from trainables.data import ImageSet
from trainables.engine.measures import (
    accuracy,
    answers,
    by_member,
    mean_per_class,
    out_of_distribution,
    retention,
    top1,
)


def test_top1_is_scikit_learns_accuracy() -> None:
    generator = Generator().manual_seed(0)
    logits = torch.randn(3, 50, 4, generator=generator)
    labels = torch.randint(4, (50,), generator=generator)
    expected = [100 * accuracy_score(labels, logits[k].argmax(dim=1)) for k in range(3)]
    assert top1(answers(logits), labels) == pytest.approx(expected)


def test_the_mean_per_class_is_scikit_learns_balanced_accuracy() -> None:
    """Of classes of very different sizes; class 2 does not occur, but is answered."""
    generator = Generator().manual_seed(0)
    logits = torch.randn(3, 60, 4, generator=generator)
    labels = torch.tensor([0] * 40 + [1] * 15 + [3] * 5)
    found = logits.argmax(dim=2)
    assert (found == 2).any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, that an answer is no label
        expected = [100 * balanced_accuracy_score(labels, found[k]) for k in range(3)]
    assert mean_per_class(answers(logits), labels) == pytest.approx(expected)
    assert mean_per_class(answers(logits), labels) != pytest.approx(top1(answers(logits), labels))


@pytest.mark.parametrize(
    ("metric", "oracle"), [("top1", accuracy_score), ("mean_per_class", balanced_accuracy_score)]
)
def test_answers_are_counted_among_the_possible_ones(metric: str, oracle: Callable[..., float]) -> None:
    """As ImageNet-R's authors do: ``output[:, subset]``."""
    generator = Generator().manual_seed(1)
    logits = torch.randn(2, 30, 9, generator=generator)
    subset, local = [7, 1, 4], torch.tensor([0] * 17 + [1] * 9 + [2] * 4)
    images = ImageSet(torch.zeros(30, 3, 1, 1), local, metric).placed(subset)
    assert images.labels.tolist() == [subset[label] for label in local]
    expected = [100 * oracle(local, logits[k][:, subset].argmax(dim=1)) for k in range(2)]
    assert accuracy(logits.split(7, dim=1), images) == pytest.approx(expected)
    assert accuracy(logits.split(7, dim=1), images) != pytest.approx(
        accuracy([logits], replace(images, answers=None))
    )


@pytest.mark.parametrize("measure", [top1, mean_per_class])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_accuracy_is_nan_only_for_the_member_whose_logits_are_not_finite(
    measure: Callable[..., list[float]], value: float
) -> None:
    logits = torch.eye(4).repeat(3, 1, 1)
    logits[1, 2, 3] = value
    first, second, third = measure(answers(logits), torch.arange(4))
    assert (first, third) == (100, 100)
    assert math.isnan(second)


def test_forgetting_is_what_the_probes_lost_on_average() -> None:
    metrics = retention(
        {"probe/letters": 70.0, "probe/colours": 95.0},
        {"probe/letters": 90.0, "probe/colours": 91.0, "id_accuracy": 40.0},
        prefix="",
    )
    assert metrics == {
        "probe/letters": 70,
        "probe/colours": 95,
        "retained_accuracy": 82.5,
        "forgetting": 8,
    }


def test_the_prefix_names_the_reference_too() -> None:
    before = {"probe/letters": 10.0, "test/probe/letters": 90.0}
    assert retention({"probe/letters": 92.0}, before, prefix="test/") == {
        "test/probe/letters": 92,
        "test/retained_accuracy": 92,
        "test/forgetting": -2,
    }


def test_the_pre_trained_model_has_forgotten_nothing() -> None:
    assert retention({"probe/letters": 63.5}, None, prefix="")["forgetting"] == 0


def test_a_probe_that_is_not_a_number_is_not_averaged_away() -> None:
    metrics = retention({"probe/a": math.nan, "probe/b": 50.0}, {"probe/a": 1.0, "probe/b": 2.0}, prefix="")
    assert math.isnan(metrics["probe/a"]) and math.isnan(metrics["forgetting"])


def test_out_of_distribution_accuracy_is_a_plain_mean() -> None:
    assert out_of_distribution({"blur": 40.0, "noise": 70.0}) == {
        "test/ood/blur": 40,
        "test/ood/noise": 70,
        "test/ood_accuracy": 55,
    }
    assert out_of_distribution({}) == {}


def test_columns_become_members() -> None:
    assert by_member({"a": [1, 2], "b": [3, 4]}, 2) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert by_member({}, 2) == [{}, {}]


def test_rounding_does_not_tell_trials_apart() -> None:
    """0.1 + 0.2 is not 0.3 for a computer; two trials that have forgotten nothing are equal."""
    assert retention({"probe/a": 0.1 + 0.2}, {"probe/a": 0.3}, prefix="")["forgetting"] == 0.0
