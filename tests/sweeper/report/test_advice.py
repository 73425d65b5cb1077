import random
from dataclasses import replace
from typing import Any

import optuna
import pytest
from made_up import metrics_of, sweep, with_front
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from sweeper.report.advice import advice
from sweeper.report.page import page
from sweeper.report.searched import Searched
from sweeper.study.records import SweepRecord, TrialRecord

LR = FloatDistribution(1e-4, 1e-2, log=True)
RANK = CategoricalDistribution([1, 2, 4, 8, 16])


def searched(rows: list[tuple[dict[str, Any], float, float]], **domains: BaseDistribution) -> SweepRecord:
    """A sweep of trials with such parameters, ID accuracies and forgetting, all inside the budget."""
    record = sweep(len(rows))
    trials = tuple(
        replace(
            trial,
            parameters=parameters,
            metrics=metrics_of(accuracy, forgetting, 2),
            active=record.blocks[:2],
            feasible=True,
        )
        for trial, (parameters, accuracy, forgetting) in zip(record.trials, rows, strict=True)
    )
    return with_front(replace(record, trials=trials, domains=domains))


def told(record: SweepRecord) -> str:
    return " ".join(advice(record, Searched.of(record)))


def spread(count: int) -> list[float]:
    """Shares of a range, one in each of as many equal parts, in no order."""
    shares = [(i + 0.5) / count for i in range(count)]
    random.Random(3).shuffle(shares)
    return shares


def made_by_lr(count: int = 40, best: float = 0.4) -> SweepRecord:
    """A learning rate decides on all, a rank on nothing."""
    rng = random.Random(0)
    rows = [
        (
            {"lr": 1e-4 * 100**share, "rank": RANK.choices[i % 5]},
            90 - 60 * abs(share - best) + rng.gauss(0, 0.1),
            2 + 20 * abs(share - best) + rng.gauss(0, 0.1),
        )
        for i, share in enumerate(spread(count))
    ]
    return searched(rows, lr=LR, rank=RANK)


def test_what_decides_on_an_objective_is_important_and_explains_it() -> None:
    record = made_by_lr()
    found = Searched.of(record)
    for objective in ("id_accuracy", "forgetting"):
        assert found.importances[objective]["lr"] > 0.7
        assert sum(found.importances[objective].values()) == pytest.approx(1)
        assert (found.explained[objective] or 0) > 0.7
    assert "No searched parameter" not in told(record) and "end of lr" not in told(record)


def test_values_by_chance_are_explained_by_nothing() -> None:
    rng = random.Random(1)
    rows = [({"lr": 1e-4 * 100**s, "rank": 4}, rng.uniform(50, 90), rng.uniform(0, 9)) for s in spread(40)]
    said = told(searched(rows, lr=LR, rank=RANK))
    assert "No searched parameter explains ID accuracy" in said
    assert "No searched parameter explains forgetting" in said


def test_an_objective_that_never_changes_is_told() -> None:
    rows = [({"lr": 1e-4 * 100**s}, 50 + 40 * s, 1.0) for s in spread(12)]
    assert "All trials have the same forgetting" in told(searched(rows, lr=LR))


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "better values may lie above 0.01"), (0.0, "better values may lie below 0.0001")],
)
def test_a_front_at_the_end_of_a_range_is_told(share: float, said: str) -> None:
    rows = [({"lr": 1e-4 * 100**s}, 90 - 50 * abs(s - share), 3.0) for s in spread(30)]
    rows += [({"lr": 1e-4 * 100 ** abs(share - e)}, 95 + e, 3 + e) for e in (0.001, 0.02, 0.03)]
    assert said in told(searched(rows, lr=LR))


def test_a_front_at_the_largest_choice_is_told() -> None:
    rows = [({"rank": rank}, 80 + rank + i, 0.5 + i) for i in range(3) for rank in RANK.choices]
    assert "3 of the front's 3 trials lie at the end of rank's range" in told(searched(rows, rank=RANK))
    kinds = CategoricalDistribution(["adam", "sgd", "lion"])
    rows = [({"kind": "lion"}, 80.0 + i, 1.0 + i) for i in range(4)]
    assert "end of kind" not in told(searched(rows, kind=kinds))


def test_trials_that_lie_together_are_told() -> None:
    close = (0.00354, 0.00261, 0.00273, 0.00355)
    rows = [({"lr": lr}, 80.0 + i, 1.0 + i) for i, lr in enumerate(close)]
    wide = searched(rows, lr=FloatDistribution(1e-4, 1e-2, log=True))
    assert "none has lr between 0.0001 and 0.00261, 71% of its range" in told(wide)
    again = [({"rank": 4 if i < 9 else 8}, 80.0 + i, 1.0 + i) for i in range(16)]
    said = told(searched(again, rank=RANK))
    assert "16 of 16 complete trials have nearly the values of another one" in said
    assert "No trial has rank = 1 or 2 or 16." in said
    apart = searched([({"lr": 1e-4 * 100**s}, 80.0 + s, 1.0) for s in spread(8)], lr=LR)
    assert "together" not in told(apart) and "nearly" not in told(apart)


def test_whether_the_front_still_grows_is_told_when_all_have_ended() -> None:
    growing = searched([({"lr": 1e-4 * 100**s}, 60.0 + i, 1.0) for i, s in enumerate(spread(16))], lr=LR)
    assert "The front still grows" in told(growing) and "--trials 32" in told(growing)
    assert "still grows" not in told(replace(growing, asked=20))
    resting = searched([({"lr": 1e-4 * 100**s}, 80.0 - i, 1.0) for i, s in enumerate(spread(16))], lr=LR)
    assert "The last 15 trials have not moved the front" in told(resting)


def test_failures_and_missed_budgets_are_told() -> None:
    record = made_by_lr(16)

    def lost(trial: TrialRecord, **changes: Any) -> TrialRecord:
        return replace(trial, feasible=False, **changes)

    failed = tuple(lost(t, state="failed", metrics={}, reason="out of memory") for t in record.trials[:8])
    said = told(with_front(replace(record, trials=(*failed, *record.trials[8:]))))
    assert "8 of 16 trials failed, 8 of them with: out of memory." in said
    outside = tuple(lost(trial) for trial in record.trials)
    assert "Only 0 of 16 complete trials are inside the budget" in told(
        replace(record, trials=outside, front=())
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_trials_leave_a_page_without_importances(count: int) -> None:
    record = made_by_lr(count)
    assert not Searched.of(record).enough
    text = page(record)
    assert 'id="importances"' not in text
    assert "10 complete trials on; there" in text
    assert ('"slice-forgetting"' in text) == (count > 1)


def test_a_parameter_with_one_value_is_no_search() -> None:
    single = {"lr": FloatDistribution(0.1, 0.1), "rank": CategoricalDistribution([8])}
    rows = [({"lr": 0.1, "rank": 8}, 80.0 + i, 1.0) for i in range(12)]
    record = searched(rows, **single)
    assert Searched.of(record).domains == {}
    assert 'id="parameters"' not in page(record)
    rows = [({"lr": 0.001, "rank": 8}, 80.0 + i, 1.0) for i in range(12)]
    same = searched(rows, lr=LR, rank=IntDistribution(1, 8))
    assert "No searched parameter explains ID accuracy" in told(same)
    assert 'id="importances"' in page(same)


def made_by_kappa() -> SweepRecord:
    """Half of the trials have a kappa, which decides on all that they reach; the others are worse."""
    rng = random.Random(0)
    rows: list[tuple[dict[str, Any], float, float]] = []
    for share in spread(30):
        rates = [1e-4 * 100 ** rng.random() for _ in range(2)]
        rows.append(({"method": "lora", "lr": rates[0]}, 50 + rng.gauss(0, 0.1), 40 + rng.gauss(0, 0.1)))
        kappa = {"method": "codyra", "lr": rates[1], "kappa": 1e-4 * 100**share}
        rows.append((kappa, 50 + 40 * share, share if share > 0.9 else 40 - 20 * share))
    methods = CategoricalDistribution(["lora", "codyra"])
    record = searched(rows, method=methods, lr=LR, kappa=LR, spare=LR)
    return replace(record, conditions={"kappa": ("method",), "spare": ("method",)})


def test_a_parameter_that_only_some_trials_have_is_judged_by_these() -> None:
    record = made_by_kappa()
    found = Searched.of(record)
    assert len(found.trials) == 60 and found.common == ["method", "lr"]
    # As Optuna finds it in the trials themselves.
    study = optuna.create_study(direction="maximize")
    for row in record.trials:
        domains = {name: domain for name, domain in record.domains.items() if name in row.parameters}
        study.add_trial(
            create_trial(params=dict(row.parameters), distributions=domains, value=row.metrics["id_accuracy"])
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.1)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert found.importances["id_accuracy"] == pytest.approx(expected)
    assert found.importances["id_accuracy"]["kappa"] > found.importances["id_accuracy"]["lr"]
    assert "spare" not in found.importances["id_accuracy"]
    sentences = told(record)
    assert "trials that have kappa lie at the end of kappa's range: better values may lie above" in sentences
    assert sentences.count("hardly matters") == 1 and "lr hardly matters" in sentences
    assert "spare" not in sentences and "nearly the values" not in sentences
    assert "parallel-id_accuracy" in page(record)


def test_trials_that_share_no_parameter_have_no_lines() -> None:
    rows = [({"a" if i % 2 else "b": 1e-3 + i * 1e-4}, 80.0 + i, 1.0) for i in range(12)]
    text = page(searched(rows, a=LR, b=LR))
    assert '"slice-forgetting"' in text and '"parallel-forgetting"' not in text


@pytest.mark.parametrize("name", ["whole", "confirmed", "masks", "closing", "none_feasible", "under_way"])
def test_every_kind_of_sweep_is_answered(name: str, request: pytest.FixtureRequest) -> None:
    record: SweepRecord = request.getfixturevalue(name)
    found = Searched.of(record)
    kept = {
        t.label
        for t in record.trials
        if t.state == "complete" and found.domains.keys() <= t.parameters.keys()
    }
    assert {trial.label for trial in found.trials} == kept
    assert ("What the parameters do" in page(record)) == (name != "masks")
