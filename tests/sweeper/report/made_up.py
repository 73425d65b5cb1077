"""Sweeps of every kind, made up."""

import math
import random
from dataclasses import replace

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from sweeper.study.front import non_dominated
from sweeper.study.records import SweepRecord, TrialRecord

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
BUDGET = 2
DOMAINS = {
    "method.lambda": FloatDistribution(0.01, 10, log=True),
    "method.rank": CategoricalDistribution([1, 2, 4, 8, 16]),
}
REFERENCE = {
    "id_accuracy": 41.3,
    "retained_accuracy": 92.4,
    "forgetting": 0.0,
    "probe/letters": 89.6,
    "probe/colours": 95.2,
    "test/id_accuracy": 40.8,
    "test/ood_accuracy": 30.1,
    "test/retained_accuracy": 92.0,
    "test/forgetting": 0.0,
}


def metrics_of(accuracy: float, forgetting: float, active: int | None) -> dict[str, float]:
    metrics = {
        "id_accuracy": accuracy,
        "forgetting": forgetting,
        "retained_accuracy": REFERENCE["retained_accuracy"] - forgetting,
        "probe/letters": REFERENCE["probe/letters"] - 1.5 * forgetting,
        "probe/colours": REFERENCE["probe/colours"] - 0.5 * forgetting,
        "loss": 0.4,
        "epoch": 10.0,
        "seconds": 3.5,
        "test/id_accuracy": accuracy - 1.1,
        "test/ood_accuracy": accuracy - 22.0,
        "test/forgetting": forgetting + 0.3,
    }
    if active is not None:
        metrics |= {"active_blocks": float(active), "active_fraction": active / len(BLOCKS)}
    return metrics


def trial(number: int, rng: random.Random) -> TrialRecord:
    active = rng.choice([0, 1, 2, 2, 2, 3, 5, 9, 16])
    accuracy = 41.3 + 52 * (1 - math.exp(-0.55 * active)) + rng.gauss(0, 2.5)
    forgetting = 1.2 * active + 0.12 * max(0.0, accuracy - 70) + rng.gauss(0, 1.0)
    return TrialRecord(
        key=f"trial-{number:04d}",
        label=str(number),
        group=str(number),
        method="selective_lora",
        role="trial",
        state="complete",
        parameters={"method.lambda": 10 ** rng.uniform(-2, 1), "method.rank": rng.choice([1, 2, 4, 8, 16])},
        metrics=metrics_of(accuracy, forgetting, active),
        active=tuple(sorted(rng.sample(BLOCKS, active), key=BLOCKS.index)),
        feasible=active <= BUDGET,
        reason=None,
    )


def baseline(
    label: str, accuracy: float, forgetting: float, active: int | None = None, lr: float | None = None
) -> TrialRecord:
    name = label if lr is None else f"{label}-lr-{lr:.0e}".replace("e-0", "e-")
    return TrialRecord(
        key=f"baseline-{name}",
        label=name,
        group=label,
        method=label.removesuffix("_qv"),
        role="baseline",
        state="complete",
        parameters={} if lr is None else {"training.lr": lr},
        metrics=metrics_of(accuracy, forgetting, active),
        active=(),
        feasible=active is None,
        reason=None,
    )


def with_curve(row: TrialRecord) -> TrialRecord:
    """As WiSE-FT gives it: forgetting grows late, accuracy early and then little."""
    accuracy, forgetting = row.metrics["id_accuracy"], row.metrics["forgetting"]
    untouched = REFERENCE["id_accuracy"]
    points = [
        {
            "a": a / 10,
            "id_accuracy": untouched + (accuracy - untouched) * (1.15 * a / 10 - 0.15 * (a / 10) ** 3),
            "forgetting": forgetting * (a / 10) ** 2.2,
            "test/ood_accuracy": untouched + (accuracy - untouched) * a / 10 - 22,
        }
        for a in range(11)
    ]
    return replace(row, curve=tuple(points))


#: Method, ID accuracy and forgetting at a learning rate of 3e-4.
LITERATURE = (
    ("full", 97.6, 31.4),
    ("lora", 96.9, 14.2),
    ("lora_qv", 95.8, 9.1),
    ("bitfit", 90.1, 3.5),
    ("top_k", 94.2, 12.0),
    ("lp_ft", 97.9, 24.5),
    ("flyp", 98.1, 19.7),
    ("l2_sp", 95.5, 7.2),
    ("ldifs", 96.4, 5.1),
    ("adalora", 95.1, 8.0),
    ("taps", 94.9, 10.8),
    ("random_blocks", 92.3, 4.4),
    ("block_expansion", 93.0, 1.9),
    ("linear", 74.9, 0.0),
)


def with_front(record: SweepRecord) -> SweepRecord:
    able = [t for t in record.trials if t.feasible]
    points = np.array([(t.metrics["id_accuracy"], -t.metrics["forgetting"]) for t in able]).reshape(-1, 2)
    front = [t for t, kept in zip(able, non_dominated(points), strict=True) if kept]
    front.sort(key=lambda t: -t.metrics["id_accuracy"])
    return replace(record, front=tuple(t.key for t in front))


def sweep(trials: int = 32, seed: int = 0) -> SweepRecord:
    rng = random.Random(seed)
    rows = [trial(number, rng) for number in range(trials)]
    return with_front(
        SweepRecord(
            name="clip_lambda",
            space={
                "sweep": "clip_lambda",
                "model.library": "open_clip",
                "model.name": "tiny-clip",
                "model.pretrained": "bundled",
                "data.id.source": "digits",
                "method.name": "selective_lora",
                "training.lr": 2e-3,
            },
            blocks=BLOCKS,
            budget=BUDGET,
            rule="at_most",
            asked=trials,
            reference=REFERENCE,
            trials=tuple(rows),
            baselines=(
                baseline("zero_shot", 41.3, 0.0),
                baseline("linear", 74.9, 0.0),
                baseline("full", 97.6, 31.4),
                baseline("lora", 96.9, 14.2, len(BLOCKS)),
            ),
            front=(),
            domains=DOMAINS,
        )
    )


def confirmation(row: TrialRecord, seed: int, accuracy: float, forgetting: float) -> TrialRecord:
    """The trial again with another seed, so much better and so much more forgetful."""
    metrics = metrics_of(
        row.metrics["id_accuracy"] + accuracy,
        row.metrics["forgetting"] + forgetting,
        round(row.metrics["active_blocks"]),
    )
    return replace(
        row,
        key=f"confirmation-{int(row.label):04d}-seed-{seed}",
        label=f"{row.label}, seed {seed}",
        role="confirmation",
        parameters={"training.seed": seed},
        metrics=metrics,
    )


def confirmations(row: TrialRecord, seeds: int = 5, spread: float = 0.5) -> list[TrialRecord]:
    """The trial again with so many seeds, a little worse than the run that was chosen for its figures."""
    rng = random.Random(int(row.label))
    return [
        confirmation(row, 1001 + i, rng.gauss(-0.6, spread), rng.gauss(0.3, spread)) for i in range(seeds)
    ]


def controlled(record: SweepRecord) -> SweepRecord:
    """The sweep with a count that falls: lambda is an outcome, and the blocks close one by one."""
    rng = random.Random(1)
    rows = []
    for row in record.trials:
        closed = [block for block in BLOCKS if block not in row.active]
        rng.shuffle(closed)
        rank = {"method.rank": row.parameters["method.rank"]}
        price = {"lambda": row.parameters["method.lambda"]}
        ends = {"closing_order": tuple(closed), "metrics": {**row.metrics, **price}}
        rows.append(replace(row, parameters=rank, **(ends if row.state == "complete" else {})))
    domains = {name: domain for name, domain in record.domains.items() if name != "method.lambda"}
    return replace(record, trials=tuple(rows), mode="controlled", domains=domains)


def masked(record: SweepRecord) -> SweepRecord:
    """The sweep with masks that are searched, after two trials with a count that falls."""
    rng = random.Random(2)
    first = {"method.active_blocks": BUDGET}
    rows = [replace(row, parameters=first) for row in controlled(record).trials[:2]]
    for row in record.trials[2:]:
        mask = row.active or tuple(sorted(rng.sample(BLOCKS, BUDGET), key=BLOCKS.index))
        rows.append(replace(row, parameters={"method.mask": mask}))
    return replace(record, trials=tuple(rows), mode="mask", domains={})


def ended(row: TrialRecord, state: str, reason: str | None) -> TrialRecord:
    metrics = {} if state == "waiting" else {k: v for k, v in row.metrics.items() if "/" not in k}
    if state == "failed":
        metrics["loss"] = math.nan
    return replace(row, state=state, metrics=metrics, active=(), feasible=False, reason=reason)  # type: ignore[arg-type]
