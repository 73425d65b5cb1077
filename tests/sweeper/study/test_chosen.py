"""Which model a person means by a word."""

import pytest

from sweeper.errors import UserError
from sweeper.study.chosen import choose
from sweeper.study.records import SweepRecord, TrialRecord


def baseline(label: str, group: str, accuracy: float, state: str = "complete") -> TrialRecord:
    return TrialRecord(
        key=f"baseline-{label}",
        label=label,
        group=group,
        method="full",
        role="baseline",
        state=state,  # type: ignore[arg-type]
        parameters={},
        metrics={"id_accuracy": accuracy, "forgetting": 3.0, "retained_accuracy": 87.0},
        active=(),
        feasible=False,
        reason=None,
    )


RECORD = SweepRecord(
    name="some",
    space={},
    blocks=("a", "b"),
    budget=1,
    rule="at_most",
    asked=0,
    reference={},
    trials=(),
    baselines=(
        baseline("full-lr-1e-4", "full", 80.0),
        baseline("full-lr-1e-3", "full", 90.0),
        baseline("full-lr-1e-2", "full", 99.0, "failed"),
        baseline("linear", "linear", 70.0),
        baseline("lora-lr-1", "lora", 70.0, "failed"),
    ),
    front=(),
)


@pytest.mark.parametrize(
    "word, label",
    [("linear", "linear"), ("full-lr-1e-4", "full-lr-1e-4"), ("full", "full-lr-1e-3")],
)
def test_the_word_for_several_runs_is_the_best_of_them(word: str, label: str) -> None:
    assert choose(RECORD, word).label == label


@pytest.mark.parametrize("word", ["lora", "ful"])
def test_a_word_for_none_is_refused_with_those_that_there_are(word: str) -> None:
    with pytest.raises(UserError, match=f"{word}: there is none; there are full-lr-1e-4, full"):
        choose(RECORD, word)
