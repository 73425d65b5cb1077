"""How a report says things: budgets, counts and figures as text."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.records import SweepRecord, TrialRecord

UNKNOWN = "\N{EN DASH}"


def figure(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals and no negative zero; a dash where it is unknown."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{round(value, digits) + 0.0:.{digits}f}"


def setting(value: Any) -> str:
    """A parameter's value: floats to four significant digits, anything nested as JSON."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def settings(parameters: Mapping[str, Any]) -> str:
    """Parameters on one line: ``method.lambda 0.31, method.rank 4``."""
    return ", ".join(f"{name} {setting(value)}" for name, value in parameters.items())


def cut(text: str, most: int) -> str:
    """A text cut where it is longer than `most` characters, with an ellipsis for what is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def short(names: Sequence[str]) -> list[str]:
    """Dotted names cut to their last part, where that still tells them apart."""
    tails = [name.rpartition(".")[2] for name in names]
    return [tail if tails.count(tail) == 1 else name for name, tail in zip(names, tails, strict=True)]


def budget(record: SweepRecord) -> str:
    """The budget as a phrase: ``at most 2 of 32 blocks (6.25 %)``."""
    rule = {"at_most": "at most", "exactly": "exactly"}[record.rule]
    share = f" ({100 * record.budget / len(record.blocks):.4g} %)" if record.blocks else ""
    return f"{rule} {record.budget} of {len(record.blocks)} blocks{share}"


def active(record: SweepRecord, row: TrialRecord) -> str:
    """Active blocks out of those that the method could open: ``2/32``; a dash where that is unknown."""
    count = active_count(row)
    return UNKNOWN if count is None else f"{count}/{row.candidates(len(record.blocks))}"


def active_count(row: TrialRecord) -> int | None:
    """Number of open blocks, if it has been reported."""
    count = row.metrics.get("active_blocks")
    return None if count is None or not math.isfinite(count) else round(count)


def counts(record: SweepRecord) -> str:
    """How far the sweep is: ``30 of 32 trials done, 12 feasible, 1 failed``."""
    states = Counter(trial.state for trial in record.trials)
    done = states["complete"] + states["pruned"] + states["failed"]
    parts = [f"{done} of {record.asked} trials done"]
    parts.append(f"{sum(trial.feasible for trial in record.trials)} feasible")
    if states["pruned"]:
        parts.append(f"{states['pruned']} stopped early")
    parts.append(f"{states['failed']} failed")
    if states["running"]:
        parts.append(f"{states['running']} running")
    return ", ".join(parts)


def no_front(record: SweepRecord) -> str:
    """Why there is no front yet, with the counts nearest to the budget; empty if there is one."""
    if record.front:
        return ""
    complete = [trial for trial in record.trials if trial.state == "complete"]
    if not complete:
        return "No trial has finished yet."
    nearest = _nearest(record, complete)
    said = f" The nearest counts were {nearest}." if nearest else ""
    return f"No trial met the budget of {budget(record)}.{said}"


def _nearest(record: SweepRecord, complete: list[TrialRecord], most: int = 3) -> str:
    by_count: defaultdict[int, list[str]] = defaultdict(list)
    for trial in complete:
        count = active_count(trial)
        if count is not None:
            by_count[count].append(trial.label)
    order = sorted(by_count, key=lambda count: (abs(count - record.budget), count))[:most]
    return "; ".join(f"{count} active ({_some(by_count[count])})" for count in order)


def _some(labels: list[str], most: int = 4) -> str:
    word = "trial" if len(labels) == 1 else "trials"
    rest = f" and {len(labels) - most} more" if len(labels) > most else ""
    return f"{word} {', '.join(labels[:most])}{rest}"


def model(record: SweepRecord) -> str:
    """The model of the space: ``open_clip tiny-clip (bundled)``."""
    space = record.space
    name = " ".join(str(space[key]) for key in ("model.library", "model.name") if space.get(key))
    pretrained = space.get("model.pretrained")
    return f"{name} ({pretrained})" if name and pretrained else name or UNKNOWN


def task(record: SweepRecord) -> str:
    """The in-distribution task of the space: ``digits``."""
    return setting(record.space.get("data.id.source", record.space.get("data.id")))
