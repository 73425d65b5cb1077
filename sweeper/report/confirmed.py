"""The trials that were trained again with other seeds, and what these say of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.report import words
from sweeper.report.confidence import OBJECTIVES, Comparison, Interval, comparisons, interval
from sweeper.study.front import has_objectives
from sweeper.study.records import SweepRecord, TrialRecord

_SHOWN = {"id_accuracy": ("ID accuracy", "%"), "forgetting": ("forgetting", "pp")}


@dataclass(frozen=True)
class Confirmed:
    """A trial of the search, a single run, and its confirmations, which are that run with other seeds."""

    trial: TrialRecord
    runs: tuple[TrialRecord, ...]

    @property
    def finished(self) -> list[TrialRecord]:
        """The confirmations that are complete and have both objectives."""
        return [run for run in self.runs if run.state == "complete" and has_objectives(run)]

    @property
    def failed(self) -> list[TrialRecord]:
        """The confirmations that failed."""
        return [run for run in self.runs if run.state == "failed"]

    def values(self, metric: str) -> list[float]:
        """A metric of the finished confirmations, one value a seed; what is unknown is left out."""
        found = (run.metrics.get(metric, math.nan) for run in self.finished)
        return [value for value in found if math.isfinite(value)]

    def interval(self, metric: str) -> Interval | None:
        """Mean and 95 % confidence interval of a metric over the finished confirmations."""
        return interval(self.values(metric))


def confirmed(record: SweepRecord) -> list[Confirmed]:
    """The confirmed models, by number, each with its confirmations; of a path, its points on the front.

    A point's confirmations are the points that the path leaves there with the other seeds.
    """
    runs = record.confirmations
    return [
        Confirmed(model, tuple(_same(run, model) for run in runs if run.group == model.group))
        for model in record.models
        if any(run.group == model.group for run in runs)
        and (model.point is None or model.key in record.front)
    ]


def _same(run: TrialRecord, model: TrialRecord) -> TrialRecord:
    """What of a confirmation is to be held against a model; the run itself where it is not there yet."""
    return next((point for point in run.points if point.point == model.point), run)


def compared(found: Sequence[Confirmed]) -> list[Comparison]:
    """Every pair of confirmed trials by their labels, compared on validation splits."""
    return comparisons({one.trial.label: {name: one.values(name) for name in OBJECTIVES} for one in found})


def verdicts(found: Sequence[Confirmed]) -> list[str]:
    """A sentence for each pair that cannot be told apart, or that cannot be compared; one for the others.

    No sentence where there is no pair.
    """
    by_label = {one.trial.label: one for one in found}
    pairs = compared(found)
    said = [_verdict(pair, by_label) for pair in pairs if not pair.apart]
    if pairs and not said:
        at = "differ in ID accuracy, in forgetting or in both at the 5 % level"
        labels = _joined(list(by_label))
        return [f"Trials {labels} can be told apart: {'any two of them' if len(found) > 2 else 'they'} {at}."]
    rest = len(pairs) - len(said)
    if rest:
        said.append(f"The other {'pair' if rest == 1 else f'{rest} pairs'} can be told apart.")
    return said


def _verdict(pair: Comparison, by_label: dict[str, Confirmed]) -> str:
    both = (by_label[pair.one], by_label[pair.other])
    if not pair.p:
        few = [one.trial.label for one in both if len(one.finished) < 2]
        lack = f"trial {few[0]} has" if len(few) == 1 else "both have"
        return f"Trials {pair.one} and {pair.other} cannot be compared: {lack} fewer than two finished seeds."
    parts = [_objective(name, both, pair.p[name]) for name in OBJECTIVES]
    return (
        f"Trials {pair.one} and {pair.other} cannot be told apart: "
        f"neither {parts[0]} nor {parts[1]} differs at the 5 % level."
    )


def _objective(name: str, both: tuple[Confirmed, Confirmed], p: float) -> str:
    heading, unit = _SHOWN[name]
    means = " and ".join(words.interval(one.interval(name)) for one in both)
    return f"{heading} ({means} {unit}, p = {words.figure(p)})"


def _joined(labels: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
