"""Accuracies of few pictures are shown with what they can be trusted to, and ties are called ties."""

from dataclasses import replace

import pytest
from made_up import baseline, with_front
from rich.console import Console
from scipy.stats import binom

from sweeper.report import counted, front_table, words
from sweeper.report.page import page
from sweeper.study.records import SweepRecord

PICTURES = {
    "id": {"train": 480, "val": 120, "test": 240},
    "ood/faded": {"test": 100},
    "ood/turned": {"test": 400},
}
MEASURED = {
    "id_accuracy": 87.5,
    "test/id_accuracy": 60.0,
    "test/ood_accuracy": 35.0,
    "test/ood/faded": 20.0,
    "test/ood/turned": 50.0,
}


def printed(record: SweepRecord) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(front_table(record))
    return capture.get()


@pytest.mark.parametrize(("accuracy", "pictures"), [(87.5, 120), (50.0, 10), (99.9, 1000), (100.0, 7)])
def test_the_error_is_that_of_a_share_of_binomial_draws(accuracy: float, pictures: int) -> None:
    theirs = 100 * binom(pictures, accuracy / 100).std() / pictures
    assert counted.standard_error(accuracy, pictures) == pytest.approx(theirs)


def test_each_accuracy_has_the_error_of_its_own_pictures(whole: SweepRecord) -> None:
    record = replace(whole, pictures=PICTURES)
    parts = [binom(100, 0.2).std(), binom(400, 0.5).std() / 4]  # percentage points
    for metric, theirs in {
        "id_accuracy": 100 * binom(120, 0.875).std() / 120,
        "test/id_accuracy": 100 * binom(240, 0.6).std() / 240,
        "test/ood_accuracy": sum(part**2 for part in parts) ** 0.5 / 2,
    }.items():
        assert counted.error(record, MEASURED, metric) == pytest.approx(theirs)
    assert counted.accuracy(record, MEASURED, "id_accuracy") == "87.50 ± 3.02"
    assert counted.accuracy(record, {}, "id_accuracy") == words.UNKNOWN


def test_no_error_is_made_up(whole: SweepRecord) -> None:
    """Neither of what is no share of pictures, nor where these were not counted."""
    assert counted.accuracy(whole, MEASURED, "id_accuracy") == "87.50"
    space = {**whole.space, "data.mean_per_class": "id_accuracy,ood/faded"}
    record = replace(whole, pictures=PICTURES, space=space)
    for metric in ("id_accuracy", "test/id_accuracy", "test/ood_accuracy"):
        assert counted.error(record, MEASURED, metric) is None
    assert not counted.ties(record)
    probed = {"id": {"val": 9}, "probe/pairs": {"val": 9, "test": 9}}
    for metric in ("probe/pairs", "test/probe/pairs", "forgetting"):
        assert counted.error_of(probed, (), {metric: 50.0}, metric) is None


def test_ties_are_called_ties_in_the_terminal_and_on_the_page(whole: SweepRecord) -> None:
    trial = replace(whole.trials[0], metrics={**whole.trials[0].metrics, **MEASURED, "forgetting": 5.0})
    trial = replace(trial, feasible=True, state="complete")
    near, far = baseline("linear", 87.5 - 3.0, 0.0), baseline("full", 87.5 - 3.1, 9.0)
    record = replace(whole, trials=(trial,), baselines=(near, far), pictures=PICTURES)
    record = with_front(record)
    said = f"within a standard error of the best ID accuracy ({trial.label}): linear"
    counts = "pictures: ID accuracy 120, test accuracy 240, OOD accuracy 100 + 400; ± is one standard error"
    text = printed(record)
    assert "87.50 ± 3.02" in text and said in text and counts in text
    assert f"Ties: {said}." in page(record) and "87.50 ± 3.02" in page(record) and counts in page(record)
    assert "standard error" not in printed(replace(record, pictures={}))


def test_a_baseline_that_does_as_well_on_both_is_named_in_the_terminal(whole: SweepRecord) -> None:
    trial = replace(whole.trials[0], metrics={**whole.trials[0].metrics, **MEASURED, "forgetting": 5.0})
    trial = replace(trial, feasible=True, state="complete")
    record = with_front(replace(whole, trials=(trial,), baselines=(baseline("linear", 87.5, 0.0),)))
    assert "at least as good as the knee on both objectives: linear" in printed(record)
