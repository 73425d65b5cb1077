"""What stands on the plot of ID accuracy against forgetting, sorted into groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.report.confidence import Interval
from sweeper.report.confirmed import Confirmed, confirmed
from sweeper.report.groups import groups
from sweeper.study.front import has_objectives, on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord

FRONT, FEASIBLE, OUTSIDE = "#1b5e9e", "#6fa3d2", "#a9adb3"
PRE_TRAINED, KNEE = "#1f2328", "#c2185b"
#: Opacity of what was stopped early: it stands where its last epoch left it.
FAINT = 0.5

#: Plotly's symbol and the colour of the i-th baseline, each begun anew after its last. The two numbers have
#: no common divisor, so 55 baselines differ.
BASELINE_SYMBOLS = (
    "square",
    "diamond",
    "triangle-up",
    "triangle-down",
    "pentagon",
    "hexagon",
    "triangle-left",
    "triangle-right",
    "cross",
    "x",
    "diamond-tall",
)
BASELINE_COLOURS = ("#b4540a", "#2e7d32", "#6a3fa0", "#00838f", "#94750c")


@dataclass(frozen=True)
class Baseline:
    """A baseline as it is drawn.

    Attributes:
        runs: those that are complete, by rising forgetting.
        best: the one that bears the name.
        symbol: of plotly.
    """

    label: str
    runs: list[TrialRecord]
    best: TrialRecord
    symbol: str
    colour: str


@dataclass(frozen=True)
class Curve:
    """A WiSE-FT curve: the run it belongs to, and its points that have both objectives, by rising ``a``."""

    row: TrialRecord
    points: list[Mapping[str, float]]
    colour: str


@dataclass(frozen=True)
class Mean:
    """A confirmed trial as it is drawn.

    Attributes:
        single: where the trial's own run stands.
        x: forgetting over the seeds, in percentage points.
        y: ID accuracy over the seeds, in percent.
    """

    label: str
    single: tuple[float, float]
    x: Interval
    y: Interval

    @property
    def place(self) -> tuple[float, float]:
        """Where the mean stands."""
        return self.x.mean, self.y.mean

    @property
    def spots(self) -> list[tuple[float, float]]:
        """The mean, then places along its two error bars, to their ends."""
        shares = [step / 4 for step in range(-4, 5) if step]
        across = [(self.x.mean + share * (self.x.half_width or 0.0), self.y.mean) for share in shares]
        up = [(self.x.mean, self.y.mean + share * (self.y.half_width or 0.0)) for share in shares]
        return [self.place, *across, *up]


@dataclass(frozen=True)
class Points:
    """The rows that have both objectives, each in one group.

    Attributes:
        front: by falling ID accuracy.
        feasible: inside the budget, dominated.
        outside: complete, but outside the budget.
        stopped: stopped early, at their last epoch.
        means: of the confirmed trials over their seeds.
        baselines: those with a complete run.
        curves: of the front, then of each baseline's best run.
        other_curves: of the baselines' other runs.
        pre_trained: ID accuracy of the untouched model in percent; its forgetting is 0.
        knee: the recommended trial, also in `front`.
    """

    front: list[TrialRecord]
    feasible: list[TrialRecord]
    outside: list[TrialRecord]
    stopped: list[TrialRecord]
    means: list[Mean]
    baselines: list[Baseline]
    curves: list[Curve]
    other_curves: list[Curve]
    pre_trained: float | None
    knee: TrialRecord | None


def points(record: SweepRecord) -> Points:
    """Sort the rows of a sweep into the groups of the plot; running and failed ones are not drawn."""
    front = on_front(record)
    keys = {trial.key for trial in front}
    rest = [trial for trial in record.models if trial.key not in keys and has_objectives(trial)]
    complete = [trial for trial in rest if trial.state == "complete"]
    pre_trained = record.reference.get("id_accuracy", math.nan)
    baselines = _baselines(record)
    best = [*((trial, FRONT) for trial in front), *((b.best, b.colour) for b in baselines)]
    others = [(run, b.colour) for b in baselines for run in b.runs if run is not b.best]
    return Points(
        front=front,
        feasible=[trial for trial in complete if trial.feasible],
        outside=[trial for trial in complete if not trial.feasible],
        stopped=[trial for trial in rest if trial.state == "pruned"],
        means=_means(confirmed(record)),
        baselines=baselines,
        curves=_curves(best),
        other_curves=_curves(others),
        pre_trained=pre_trained if math.isfinite(pre_trained) else None,
        knee=recommended(record),
    )


def place(row: TrialRecord) -> tuple[float, float]:
    """Where a row stands: (forgetting in percentage points, ID accuracy in percent)."""
    return spot(row.metrics)


def spot(metrics: Mapping[str, float]) -> tuple[float, float]:
    """Where metrics stand: (forgetting in percentage points, ID accuracy in percent)."""
    return metrics["forgetting"], metrics["id_accuracy"]


def spots(shown: Points) -> list[tuple[float, float]]:
    """Every place on the plot where something stands."""
    runs = [run for baseline in shown.baselines for run in baseline.runs]
    rows = [*shown.front, *shown.feasible, *shown.outside, *shown.stopped, *runs]
    curves = [spot(point) for curve in shown.curves for point in curve.points]
    means = [spot for mean in shown.means for spot in mean.spots]
    untouched = [] if shown.pre_trained is None else [(0.0, shown.pre_trained)]
    return [*(place(row) for row in rows), *means, *curves, *untouched]


def _means(found: Sequence[Confirmed]) -> list[Mean]:
    """The confirmed trials of which at least one seed has finished."""
    means = []
    for one in found:
        x, y = one.interval("forgetting"), one.interval("id_accuracy")
        if x is not None and y is not None:
            means.append(Mean(one.trial.label, place(one.trial), x, y))
    return means


def _baselines(record: SweepRecord) -> list[Baseline]:
    drawn = []
    for position, group in enumerate(groups(record.baselines)):
        if group.best is not None:
            colour = BASELINE_COLOURS[position % len(BASELINE_COLOURS)]
            runs = sorted(group.measured, key=place)
            drawn.append(Baseline(group.label, runs, group.best, symbol(position), colour))
    return drawn


def symbol(position: int) -> str:
    """Of the baseline at a position."""
    return BASELINE_SYMBOLS[position % len(BASELINE_SYMBOLS)]


def _curves(bearers: Sequence[tuple[TrialRecord, str]]) -> list[Curve]:
    """The curves of the rows, each in its colour; of those rows that have one."""
    names = ("id_accuracy", "forgetting")
    curves = []
    for row, colour in bearers:
        known = [point for point in row.curve if all(math.isfinite(point.get(n, math.nan)) for n in names)]
        if known:
            curves.append(Curve(row, sorted(known, key=lambda point: point["a"]), colour))
    return curves
