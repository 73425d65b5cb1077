from made_up import baseline

from sweeper.report.groups import groups
from sweeper.study.records import SweepRecord, TrialRecord


def runs(*figures: tuple[float, float]) -> list[TrialRecord]:
    return [baseline("full", *pair, lr=10.0**-number) for number, pair in enumerate(figures, start=1)]


def best(*figures: tuple[float, float]) -> tuple[float, float]:
    (group,) = groups(runs(*figures))
    assert group.best is not None
    return group.best.metrics["id_accuracy"], group.best.metrics["forgetting"]


def test_baselines_are_grouped_by_their_written_label_in_order(literature: SweepRecord) -> None:
    found = groups(literature.baselines)
    assert [group.label for group in found][:3] == ["full", "lora", "lora_qv"]
    assert [run for group in found for run in group.runs] == list(literature.baselines)
    assert {len(group.runs) for group in found} == {3}


def test_the_best_run_forgets_least_of_those_within_a_point_of_the_highest_accuracy() -> None:
    assert best((96.0, 2.0), (96.5, 9.0), (90.0, 0.0)) == (96.0, 2.0)
    assert best((95.4, 2.0), (96.5, 9.0)) == (96.5, 9.0)
    assert best((95.5, 2.0), (96.5, 9.0)) == (95.5, 2.0)
    assert best((95.8, 0.0), (96.5, 0.0)) == (96.5, 0.0)


def test_what_is_not_measured_is_never_the_best() -> None:
    unknown = float("nan")
    assert best((unknown, 0.0), (50.0, 3.0), (99.0, unknown)) == (50.0, 3.0)
    (group,) = groups(runs((unknown, unknown)))
    assert group.best is None and group.measured == []
