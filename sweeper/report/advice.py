"""What a sweep's trials say of its space, and what to try next, in sentences."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.report import words
from sweeper.report.confidence import OBJECTIVES
from sweeper.report.searched import ENOUGH, Searched, are_numbers, in_order
from sweeper.study.front import hypervolume_history, on_front, unmoved
from sweeper.study.records import SweepRecord, TrialRecord

#: Share of an objective's variance under which the parameters are said not to explain it. Random forests on
#: 30 trials with values at random stayed under it in nine of ten repetitions.
_EXPLAINED = 0.1
_LITTLE = 0.05  # an importance
_EDGE = 0.1  # of a range
_MOST = 2 / 3  # of the front's trials
_FEWEST = 3  # trials of the front, of which it is said where they lie
_NEAR = 0.05  # of the distance between trials that are spread evenly
_MANY = 0.25  # of the trials
_HOLE = 0.5  # of a range
_RISE = 0.005  # of the hypervolume


def advice(record: SweepRecord, searched: Searched) -> list[str]:
    """Each sentence says what is found, then what to try; empty where there is nothing to say."""
    return [
        *_failed(record),
        *_outside(record),
        *_unexplained(searched),
        *_idle(record, searched),
        *_edges(record, searched),
        *_holes(searched),
        *_close(searched),
        *_growth(record),
    ]


def _failed(record: SweepRecord) -> Iterator[str]:
    failed = [trial for trial in record.trials if trial.state == "failed"]
    if len(failed) > _MANY * len(record.trials):
        reasons = Counter((trial.reason or "no known reason").splitlines()[0] for trial in failed)
        reason, times = reasons.most_common(1)[0]
        yield (
            f"{len(failed)} of {len(record.trials)} trials failed, {times} of them with: "
            f"{words.cut(reason, 120)}. Mend that, then: "
            f"python -m sweeper resume {record.name} --retry-failed."
        )


def _outside(record: SweepRecord) -> Iterator[str]:
    complete = [trial for trial in record.trials if trial.state == "complete"]
    inside = sum(trial.feasible for trial in complete)
    if record.mode == "search" and len(complete) >= ENOUGH and inside < _MANY * len(complete):
        yield (
            f"Only {inside} of {len(complete)} complete trials are inside the budget. With "
            "budget.mode=controlled each trial ends at the budget by itself."
        )


def _unexplained(searched: Searched) -> Iterator[str]:
    if not searched.enough:
        return
    for objective, share in searched.explained.items():
        if share is None:
            yield f"All trials have the same {_plain(objective)}: nothing that is searched changes it."
        elif share < _EXPLAINED:
            yield (
                f"No searched parameter explains {_plain(objective)} (R² {words.figure(share)}): what "
                "differs between trials may be chance. Train the best again with other seeds (confirm), or "
                "search over something else."
            )


def _idle(record: SweepRecord, searched: Searched) -> Iterator[str]:
    """Parameters that matter for no objective, though the parameters together do for each.

    What others hang on matters by these too.
    """
    if not searched.enough or any((share or 0.0) < _EXPLAINED for share in searched.explained.values()):
        return
    hung_on = {name for names in record.conditions.values() for name in names}
    for name in (name for name in searched.domains if name not in hung_on):
        of_each = [searched.importances[objective].get(name, 1.0) for objective in OBJECTIVES]
        if max(of_each) < _LITTLE:
            yield (
                f"{name} hardly matters: its importance is below {_LITTLE} for both objectives. Give it one "
                "value, and as many trials cover the rest more densely."
            )


def _edges(record: SweepRecord, searched: Searched) -> Iterator[str]:
    known = {trial.key for trial in searched.trials}
    keys = dict.fromkeys(model.run_key for model in on_front(record))
    on_it = [record.run(key) for key in keys if key in known]
    for name, domain in searched.domains.items():
        front = searched.asked_for(name, on_it)
        if len(front) < _FEWEST:
            continue
        if isinstance(domain, CategoricalDistribution) and not (
            are_numbers(domain) and len(domain.choices) > 2
        ):
            continue
        positions = searched.positions(name, front)
        for at_end, end, side in ((positions <= _EDGE, 0, "below"), (positions >= 1 - _EDGE, -1, "above")):
            if at_end.mean() >= _MOST:
                which = _with(searched, name)
                yield (
                    f"{int(at_end.sum())} of the front's {len(front)} trials {which}lie at the end of "
                    f"{name}'s range: better values may lie {side} {words.setting(_ends(domain)[end])}. "
                    "Widen it there."
                )


def _holes(searched: Searched) -> Iterator[str]:
    """Wide parts of a range, and choices, that have no trial."""
    for name, domain in searched.domains.items():
        trials = searched.asked_for(name, searched.trials)
        if len(trials) < _FEWEST + 1:
            continue
        if isinstance(domain, CategoricalDistribution):
            if left := _untried(name, domain, trials):
                yield f"No trial has {name} = {left}. Ask for more trials, or leave it out."
            continue
        at = np.sort(searched.positions(name, trials))
        edges = np.array([0.0, *at, 1.0])
        widest = int(np.diff(edges).argmax())
        width = edges[widest + 1] - edges[widest]
        if width > _HOLE:
            low, high = (words.setting(_value(domain, share)) for share in edges[widest : widest + 2])
            yield (
                f"The trials lie close together: none has {name} between {low} and {high}, {width:.0%} of "
                "its range. If nothing good is expected there, narrow the range; else ask for more trials."
            )


def _with(searched: Searched, name: str) -> str:
    """Which trials are meant, of a parameter that not all were asked for."""
    return "" if name in searched.common else f"that have {name} "


def _untried(name: str, domain: CategoricalDistribution, trials: Sequence[TrialRecord]) -> str:
    tried = [trial.parameters[name] for trial in trials]
    few = len(trials) < 3 * len(domain.choices)
    return "" if few else " or ".join(words.setting(c) for c in in_order(domain) if c not in tried)


def _close(searched: Searched) -> Iterator[str]:
    """How many trials have nearly the values of another: each was trained for the same answer."""
    count = len(searched.trials)
    if not searched.domains or count < _FEWEST + 1:
        return
    groups: dict[tuple[str, ...], list[TrialRecord]] = {}
    for trial in searched.trials:
        names = tuple(name for name in searched.domains if name in trial.parameters)
        groups.setdefault(names, []).append(trial)
    close = sum(_number_close(searched, *group) for group in groups.items())
    if close > _MANY * count:
        yield (
            f"{close} of {count} complete trials have nearly the values of another one, so they measure "
            "the same again. Search over more parameters, or ask for fewer trials."
        )


def _number_close(searched: Searched, names: Sequence[str], trials: Sequence[TrialRecord]) -> int:
    """How many of the trials, which were asked for the same parameters, have nearly the values of another."""
    if len(trials) < 2 or not names:
        return 0
    from scipy.spatial import KDTree  # imported here, since few commands need it

    at = np.stack([searched.positions(name, trials) for name in names], axis=1)
    is_range = [not isinstance(searched.domains[name], CategoricalDistribution) for name in names]
    choices = prod(len(np.unique(at[:, place])) for place, ranges in enumerate(is_range) if not ranges)
    # How far apart as many trials would be that fill the ranges evenly.
    apart = min(1.0, choices / len(trials)) ** (1 / sum(is_range)) if any(is_range) else 1.0
    distances, _ = KDTree(at).query(at, k=2, p=np.inf)
    return int((distances[:, 1] <= _NEAR * apart).sum())


def _growth(record: SweepRecord) -> Iterator[str]:
    """Whether more trials are likely to move the front; only once all have ended."""
    ended = [trial for trial in record.trials if trial.state in ("complete", "pruned", "failed")]
    history = hypervolume_history(record)
    if len(ended) < max(record.asked, ENOUGH) or not history:
        return
    still, after = unmoved(record), 3 * len(ended) // 4
    before = max((area for number, area in history if number < after), default=0.0)
    rise = (history[-1][1] - before) / before if before else 0.0
    if rise > _RISE:
        yield (
            f"The front still grows: the last quarter of the trials raised its hypervolume by {rise:.1%}. "
            f"Go on: python -m sweeper resume {record.name} --trials {2 * record.asked}."
        )
    elif still > _MANY * len(ended):
        yield (
            f"The last {still} trials have not moved the front, so more of them will buy little. Train its "
            "best again with other seeds (confirm), or change the space."
        )


def _plain(objective: str) -> str:
    return {"id_accuracy": "ID accuracy"}.get(objective, objective)


def _ends(domain: BaseDistribution) -> list[Any]:
    return in_order(domain) if isinstance(domain, CategoricalDistribution) else [domain.low, domain.high]  # type: ignore[attr-defined]


def _value(domain: BaseDistribution, position: float) -> float:
    """The value at a position, 0 to 1, of a range."""
    assert isinstance(domain, FloatDistribution | IntDistribution)
    low, high = float(domain.low), float(domain.high)
    return low * (high / low) ** position if domain.log else low + position * (high - low)
