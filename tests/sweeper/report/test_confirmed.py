from dataclasses import replace

from made_up import confirmation, ended
from scipy import stats

from sweeper.report.confirmed import compared, verdicts
from sweeper.report.confirmed import confirmed as confirmed_trials
from sweeper.study.records import SweepRecord, TrialRecord


def again(
    record: SweepRecord, *figures: tuple[list[float], list[float]]
) -> tuple[SweepRecord, list[TrialRecord]]:
    """The sweep with its first trials confirmed: each with ID accuracies and forgettings, one a seed."""
    trials = list(record.trials[: len(figures)])
    runs = [
        replace(run, metrics={**run.metrics, "id_accuracy": accuracy, "forgetting": forgetting})
        for trial, (accuracies, forgettings) in zip(trials, figures, strict=True)
        for i, (accuracy, forgetting) in enumerate(zip(accuracies, forgettings, strict=True))
        for run in [confirmation(trial, 1001 + i, 0.0, 0.0)]
    ]
    return replace(record, confirmations=tuple(runs)), trials


def said(record: SweepRecord) -> list[str]:
    return verdicts(confirmed_trials(record))


NEAR = ([90.0, 91.0, 92.0], [1.0, 1.2, 0.9])
ALSO = ([90.5, 91.4, 91.9], [1.1, 1.0, 1.2])
FAR = ([70.0, 71.0, 72.0], [1.0, 1.2, 0.9])
FARTHER = ([50.0, 51.0, 52.0], [1.0, 1.2, 0.9])


def test_seeds_that_failed_or_are_under_way_are_in_no_mean(whole: SweepRecord) -> None:
    record, _ = again(whole, NEAR)
    runs = list(record.confirmations)
    runs[1], runs[2] = ended(runs[1], "failed", "out of memory"), ended(runs[2], "running", None)
    (one,) = confirmed_trials(replace(record, confirmations=tuple(runs)))
    found = one.interval("id_accuracy")
    assert found is not None and (found.mean, found.half_width, found.count) == (90.0, None, 1)
    assert [run.reason for run in one.failed] == ["out of memory"]
    assert one.interval("nothing") is None


def test_metrics_that_are_not_finite_are_in_no_mean(whole: SweepRecord) -> None:
    record, _ = again(whole, NEAR)
    runs = list(record.confirmations)
    runs[0] = replace(runs[0], metrics={**runs[0].metrics, "test/id_accuracy": float("nan")})
    (one,) = confirmed_trials(replace(record, confirmations=tuple(runs)))
    found = one.interval("test/id_accuracy")
    assert found is not None and found.count == 2 and len(one.finished) == 3


def test_a_pair_that_cannot_be_told_apart_is_named_with_its_figures(whole: SweepRecord) -> None:
    record, _ = again(whole, NEAR, ALSO, FAR)
    (pair, *_) = compared(confirmed_trials(record))
    # Of six tests four remain when those of accuracy against the third trial have been called: 4 p > 1.
    assert min(stats.ttest_ind(*both, equal_var=False).pvalue for both in zip(NEAR, ALSO, strict=True)) > 0.25
    assert pair.p == {"id_accuracy": 1.0, "forgetting": 1.0}
    first, rest = said(record)
    assert first == (
        "Trials 0 and 1 cannot be told apart: "
        "neither ID accuracy (91.00 ± 2.48 and 91.27 ± 1.76 %, p = 1.00) "
        "nor forgetting (1.03 ± 0.38 and 1.10 ± 0.25 pp, p = 1.00) differs at the 5 % level."
    )
    assert rest == "The other 2 pairs can be told apart."


def test_where_all_can_be_told_apart_one_sentence_says_so(whole: SweepRecord) -> None:
    two, three = again(whole, NEAR, FAR)[0], again(whole, NEAR, FAR, FARTHER)[0]
    at = "differ in ID accuracy, in forgetting or in both at the 5 % level."
    assert said(two) == [f"Trials 0 and 1 can be told apart: they {at}"]
    assert said(three) == [f"Trials 0, 1 and 2 can be told apart: any two of them {at}"]


def test_seeds_without_any_variance_are_compared(whole: SweepRecord) -> None:
    same, other = ([90.0] * 3, [0.0] * 3), ([91.0] * 3, [0.0] * 3)
    assert "cannot be told apart" in said(again(whole, same, same)[0])[0]
    assert "can be told apart" in said(again(whole, same, other)[0])[0]


def test_a_single_seed_is_not_compared_and_a_single_trial_needs_no_sentence(whole: SweepRecord) -> None:
    one = ([90.0], [1.0])
    few = "fewer than two finished seeds."
    assert said(again(whole, NEAR, one)[0]) == [f"Trials 0 and 1 cannot be compared: trial 1 has {few}"]
    assert said(again(whole, one, one)[0]) == [f"Trials 0 and 1 cannot be compared: both have {few}"]
    assert said(again(whole, NEAR)[0]) == said(whole) == []
