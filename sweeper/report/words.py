"""How a report says things: budgets, counts and figures as text."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from search_spaces import Budget, BudgetMode
from sweeper.report.confidence import Interval
from sweeper.study.records import SweepRecord, TrialRecord

UNKNOWN = "\N{EN DASH}"
_NAMED = 20  # damaged pictures


def figure(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals and no negative zero; a dash where it is unknown."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{round(value, digits) + 0.0:.{digits}f}"


def setting(value: Any, record: SweepRecord | None = None) -> str:
    """A parameter's value: floats to four significant digits, names in a row, anything nested as JSON.

    Args:
        record: where it is given, blocks are named without their tower, if the sweep has only one.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    if are_names(value):
        return ", ".join(value if record is None else short_blocks(record, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def damaged(record: SweepRecord) -> str:
    """How many pictures are left out since they cannot be read, and which; of very many, the first."""
    named = [message.removeprefix("path: ").partition(" cannot be read")[0] for message in record.damaged]
    count = f"{len(named)} damaged {'picture' if len(named) == 1 else 'pictures'}"
    return f"{count}: {', '.join(named[:_NAMED])}{', ...' if len(named) > _NAMED else ''}"


def are_names(value: Any) -> bool:
    """Whether a parameter's value is a row of names, as the open blocks of a mask are."""
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(name, str) for name in value)


def short_blocks(record: SweepRecord, names: Sequence[str]) -> list[str]:
    """Names of blocks without their tower (``3.qkv``), where all blocks of the sweep share it."""
    towers = {block.partition(".")[0] for block in record.blocks}
    return (
        [name.removeprefix(f"{next(iter(towers))}.") for name in names] if len(towers) == 1 else list(names)
    )


def cut(text: str, most: int) -> str:
    """A text cut where it is longer than `most` characters, with an ellipsis for what is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def short(names: Sequence[str]) -> list[str]:
    """Dotted names cut to their last part, where that still tells them apart."""
    tails = [name.rpartition(".")[2] for name in names]
    return [tail if tails.count(tail) == 1 else name for name, tail in zip(names, tails, strict=True)]


def budget(record: SweepRecord) -> str:
    """A sweep's budget, as `budget_of` puts it, and its limits."""
    limits = str(record.space.get("search.limits", "")).split(",")
    return ", ".join([budget_of(record, record.budget, len(record.blocks)), *filter(None, limits)])


def budget_of(meant: SweepRecord | Budget, count: int, total: int) -> str:
    """A budget of so many blocks, meant as its rule and tolerance say: ``at most 2 of 32 blocks (6.25 %)``.

    With a tolerance: ``exactly 2 of 32 blocks, give or take 1 (3.125 to 9.375 %)``.
    """
    rule = {"at_most": "at most", "exactly": "exactly"}[meant.rule]
    near = f", give or take {meant.tolerance}" if meant.tolerance else ""
    counts = sorted({count - meant.tolerance, count + meant.tolerance})
    share = f" ({' to '.join(f'{100 * count / total:.4g}' for count in counts)} %)" if total else ""
    return f"{rule} {count} of {total} blocks{near}{share}"


def mode(chosen: BudgetMode, count: int) -> str:
    """How a budget of so many blocks is met: ``controlled: each trial closes blocks until 2 are open``."""
    open_blocks = f"{count} {'is' if count == 1 else 'are'} open"
    return {
        "search": "search: a trial that misses it is left off the front",
        "controlled": f"controlled: each trial closes blocks until {open_blocks}",
        "mask": "mask: the search chooses which blocks are open",
        "path": "path: each trial goes from all blocks to few, and leaves a model at each number",
    }[chosen]


def closing(record: SweepRecord) -> dict[str, str]:
    """Headings and metrics of what only trials with a controlled count have; empty where none has."""
    known = any("lambda" in trial.metrics for trial in record.trials)
    return {"final lambda": "lambda"} if known else {}


def state(row: TrialRecord) -> str:
    """How far a run is: its state, with ``stopped early`` for pruned, ``from clip_lambda`` if taken over."""
    if row.state == "complete" and row.comes_from:
        return f"from {row.comes_from}"
    return "stopped early" if row.state == "pruned" else row.state


def interval(found: Interval | None) -> str:
    """A mean and the half-width of its interval: ``92.80 ± 0.61``; a single value alone."""
    if found is None or found.half_width is None:
        return figure(None if found is None else found.mean)
    return f"{figure(found.mean)} ± {figure(found.half_width)}"


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
    if record.taken:
        parts.append(f"{record.taken} taken over")
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


def per_class(record: SweepRecord, metric: str) -> str:
    """What is put behind the name of an accuracy that is a mean over the classes; nothing where it is top-1.

    Args:
        metric: ``id_accuracy``, ``ood/<name>`` or ``probe/<name>``.
    """
    return ", mean per class" if metric in means_per_class(record) else ""


def means_per_class(record: SweepRecord) -> list[str]:
    """The accuracies that are a mean over the classes, by the names of their metrics."""
    return [name for name in str(record.space.get("data.mean_per_class", "")).split(",") if name]


def task(record: SweepRecord) -> str:
    """The in-distribution task of the space: ``digits``."""
    return setting(record.space.get("data.id.source", record.space.get("data.id")))
