"""Sweeps of every kind, as fixtures."""

from dataclasses import replace

import pytest
from made_up import (
    BLOCKS,
    LITERATURE,
    baseline,
    confirmation,
    confirmations,
    controlled,
    ended,
    masked,
    sweep,
    with_curve,
    with_front,
)

from sweeper.study.records import SweepRecord, TrialRecord


@pytest.fixture
def whole() -> SweepRecord:
    """32 trials, of which one failed, two were pruned, and four baselines."""
    record = sweep()
    rows = list(record.trials)
    rows[5] = ended(rows[5], "failed", "loss is NaN after epoch 3")
    rows[11] = ended(rows[11], "pruned", "dominated at epoch 4")
    rows[19] = ended(rows[19], "pruned", "dominated at epoch 2")
    return with_front(replace(record, trials=tuple(rows)))


@pytest.fixture
def confirmed(whole: SweepRecord) -> SweepRecord:
    """Three trials of the front with five seeds each, of which one failed, and one with a single seed.

    The second of them gives the same figures as the first but for noise.
    """
    first, second, _, _, third, fourth = front(whole)[:6]
    again = confirmations(first)
    near = [
        replace(
            run,
            key=f"confirmation-{int(second.label):04d}-seed-{1001 + i}",
            label=f"{second.label}, seed {1001 + i}",
            group=second.group,
            metrics={**run.metrics, "id_accuracy": run.metrics["id_accuracy"] + 0.1 * (-1) ** i},
        )
        for i, run in enumerate(again)
    ]
    again[2] = ended(again[2], "failed", "loss is NaN after epoch 2")
    runs = [*again, *near, *confirmations(third), confirmation(fourth, 1001, -0.2, 0.1)]
    return replace(whole, confirmations=tuple(sorted(runs, key=lambda run: run.key)))


@pytest.fixture
def closing(confirmed: SweepRecord) -> SweepRecord:
    """A controlled sweep, with confirmations."""
    return controlled(confirmed)


@pytest.fixture
def masks(whole: SweepRecord) -> SweepRecord:
    """A sweep over masks."""
    return masked(whole)


def front(record: SweepRecord) -> list[TrialRecord]:
    by_key = {trial.key: trial for trial in record.trials}
    return [by_key[key] for key in record.front]


@pytest.fixture
def literature(whole: SweepRecord) -> SweepRecord:
    """Fourteen baselines at three learning rates each, and curves of all but the linear ones."""
    baselines = [
        baseline(
            label,
            accuracy - 3.0 * (lr == 5e-5) + 0.4 * (lr == 1e-3),
            forgetting * lr**0.5 / 3e-4**0.5,
            len(BLOCKS),
            lr,
        )
        for label, accuracy, forgetting in LITERATURE
        for lr in (5e-5, 3e-4, 1e-3)
    ]
    curved = [row if row.group == "linear" else with_curve(row) for row in baselines]
    trials = tuple(with_curve(t) if t.state == "complete" else t for t in whole.trials)
    return replace(whole, trials=trials, baselines=tuple(curved))


@pytest.fixture
def under_way() -> SweepRecord:
    """Two trials running, none finished, no reference and no baseline measured yet."""
    record = sweep(trials=2)
    rows = (ended(record.trials[0], "running", None), ended(record.trials[1], "waiting", None))
    bare = replace(record.baselines[0], state="running", metrics={}, feasible=False)
    return replace(record, trials=rows, baselines=(bare,), reference={}, front=(), asked=32)


@pytest.fixture
def none_feasible(whole: SweepRecord) -> SweepRecord:
    """Every finished trial has more active blocks than the budget."""
    rows = tuple(t for t in whole.trials if not t.feasible)
    return replace(whole, trials=rows, front=())


HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit=1'>"


@pytest.fixture
def hostile(confirmed: SweepRecord) -> SweepRecord:
    """Markup and script wherever a record holds text."""
    whole = controlled(confirmed)
    rows = [
        replace(
            t,
            parameters={**t.parameters, f"p{HOSTILE}": f"{HOSTILE} %{{x}} $a$ \ud800"},
            label=f"{t.label}{HOSTILE}",
            closing_order=tuple(f"{name}{HOSTILE}" for name in t.closing_order),
        )
        for t in whole.trials
    ]
    rows[5] = replace(rows[5], reason=f"{HOSTILE}\n{{{{ 7 * 7 }}}} \ud800")
    bases = tuple(replace(b, label=b.label + HOSTILE, group=b.group + HOSTILE) for b in whole.baselines)
    again = tuple(
        replace(run, label=run.label + HOSTILE, reason=run.reason and run.reason + HOSTILE)
        for run in whole.confirmations
    )
    space = {**whole.space, "model.name": HOSTILE, "data.id.source": HOSTILE}
    return replace(whole, name=HOSTILE, trials=tuple(rows), baselines=bases, confirmations=again, space=space)
