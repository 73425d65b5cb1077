import math

import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import Generator

from trainables.measures import by_member, out_of_distribution, retention, top1


def test_top1_is_scikit_learns_accuracy() -> None:
    generator = Generator().manual_seed(0)
    logits = torch.randn(3, 50, 4, generator=generator)
    labels = torch.randint(4, (50,), generator=generator)
    expected = [100 * accuracy_score(labels, logits[k].argmax(dim=1)) for k in range(3)]
    assert top1(logits, labels) == pytest.approx(expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_top1_is_nan_only_for_the_member_whose_logits_are_not_finite(value: float) -> None:
    logits = torch.eye(4).repeat(3, 1, 1)
    logits[1, 2, 3] = value
    first, second, third = top1(logits, torch.arange(4))
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
