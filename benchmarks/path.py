"""Is one path as good as a training of its own for each number of blocks?

Claim under test: a path (`budget.mode: path`) leaves models that are no worse than fresh controlled trainings
at the same numbers of blocks, for a third of the epochs or less.

Then: does it matter in which order a path closes its blocks? By score (the default), at random, the smallest
update first, the least gradient at the start first, or what costs the least loss on training pictures first;
and the same with a price of 1 on moving the features (`training.retention`). And does a path gain by another
schedule: half the share of epochs with all blocks open, or twice the epochs?

Method: low-rank blocks of rank 8. `fresh` trains for each number of blocks anew, in mode controlled;
`path` goes through all of them in one training. Both at every learning rate with every seed; the rate of
a way is the one with the largest mean hypervolume of all its models on validation. Reported is the
hypervolume of (ID accuracy, retained accuracy) as fractions, reference point (0, 0), on test splits, of
the models with at most so many blocks: means over the seeds with 95 % intervals (Student's t), and the
intervals of differences, seed by seed. Seconds are those of training and of
measuring, in the same run.

    python -m benchmarks.path tiny      # the shipped CLIP, 5 seeds
    python -m benchmarks.path pacs      # ViT-Tiny learns PACS sketches, 3 seeds; needs SWEEPER_DATA
    python -m benchmarks.path two_tower # an image-text model of real weights learns the same, 3 seeds
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import moocore
import numpy as np

from benchmarks._closing_orders import ByGradient, ByLoss, Closing, Ranking, at_random, by_update
from benchmarks._trials import RESULTS, Bench, Row, markdown, read_csv, write_csv
from search_spaces import Space
from search_spaces.gated import Path as PathSettings
from sweeper.report.confidence import Interval, interval
from sweeper.study.front import REFERENCE_POINT
from trainables.engine.training import Training

RANK = 8
_VALIDATION = ("id_accuracy", "retained_accuracy")
_TEST = ("test/id_accuracy", "test/retained_accuracy")


@dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
        counts: open blocks, all of them first.
        budgets: the models with at most so many blocks are counted.
        epochs: of a path.
        dense: share of a path's epochs in which all blocks are open.
        fresh: epochs of each fresh training.
        pack: trials that train together.
        ways: that are measured.
    """

    space: Path
    counts: Sequence[int]
    budgets: Sequence[int]
    epochs: int
    dense: float
    fresh: int
    rates: Sequence[float]
    seeds: int
    pack: int
    ways: Sequence[str]

    def spent(self, way: str) -> int:
        """Epochs of a way."""
        if way == "fresh":
            return self.fresh * len(self.counts)
        return self.scheduled(way).epochs

    def scheduled(self, way: str) -> "Setting":
        """With the schedule of a way."""
        return replace(
            self, **{name: factor * getattr(self, name) for name, factor in SCHEDULES.get(way, {}).items()}
        )


def fresh(bench: Bench, setting: Setting, trials: Sequence[Space]) -> Iterator[list[Row]]:
    """For each trial, its models: each a training of its own."""
    rows = [
        bench.train(
            [t.with_values({"method.active_blocks": n, "training.epochs": setting.fresh}) for t in trials],
            True,
        )
        for n in setting.counts
    ]
    yield from (list(models) for models in zip(*rows, strict=True))


def path(
    bench: Bench, setting: Setting, trials: Sequence[Space], order: Ranking | None = None
) -> Iterator[list[Row]]:
    """For each trial, the models that one path leaves."""
    chosen = PathSettings(counts=tuple(setting.counts), dense=setting.dense)
    for first in range(0, len(trials), setting.pack):
        training = Training(
            bench.problem,
            [
                trial.model_copy(
                    update={
                        "method": trial.method.model_copy(update={"path": chosen}),
                        "training": trial.training.model_copy(update={"epochs": setting.epochs}),
                    }
                )
                for trial in trials[first : first + setting.pack]
            ],
        )
        if isinstance(order, ByGradient):
            order.measure(training)
        if order is not None:
            Closing(training, order)
        while training.epoch < training.epochs:
            training.train_epoch()
        yield from ([dict(point.metrics) for point in points] for points in training.points)


Train = Callable[[Bench, Setting, Sequence[Space]], Iterator[list[Row]]]
ORDERS: dict[str, Train] = {
    "path": path,
    "path, at random": partial(path, order=at_random),
    "path, smallest update first": partial(path, order=by_update),
    "path, least gradient first": partial(path, order=ByGradient()),
    "path, least loss first": partial(path, order=ByLoss()),
}
RETAINED = ", features held"
HALF_AS_DENSE = "path, half as dense"
# Factors of what a setting says.
SCHEDULES: dict[str, dict[str, float]] = {HALF_AS_DENSE: {"dense": 0.5}, "path, twice as long": {"epochs": 2}}
WAYS: dict[str, Train] = {
    "fresh": fresh,
    **ORDERS,
    **{way + RETAINED: train for way, train in ORDERS.items()},
    **dict.fromkeys(SCHEDULES, path),
}


_PACS = Setting(
    Path("spaces/pacs_sketch.yaml"),
    (48, 24, 12, 8, 3, 1),
    (3, 12, 48),
    epochs=6,
    dense=1 / 3,
    fresh=3,
    rates=(2e-3, 5e-3),
    seeds=3,
    pack=1,
    ways=("fresh", "path"),
)
SETTINGS = {
    "tiny": Setting(
        Path("spaces/clip_lambda.yaml"),
        (32, 24, 16, 12, 8, 6, 4, 2, 1),
        (2, 4, 8, 32),
        epochs=7,
        dense=2 / 7,
        fresh=3,
        rates=(5e-3, 1e-2),
        seeds=5,
        pack=5,
        ways=tuple(WAYS),
    ),
    "pacs": _PACS,
    "two_tower": replace(_PACS, space=Path("spaces/two_tower_pacs.yaml"), ways=(*_PACS.ways, HALF_AS_DENSE)),
}


def measure(name: str) -> None:
    """Trains what is not in the table of rows yet, a way and a learning rate at a time."""
    setting, file = SETTINGS[name], RESULTS / f"path_{name}.csv"
    rows = read_csv(file)
    there = {(row["way"], row["rate"]) for row in rows}
    method = f"method={{name: selective_lora, rank: {RANK}}}"
    overrides = ("baselines=[]", "search={trials: 1}", method, "budget={active_blocks: 1}")
    bench = Bench.open(setting.space, setting.pack, *overrides)
    for rate in setting.rates:
        for way, train in WAYS.items():
            if (way, str(rate)) in there or way not in setting.ways:
                continue
            print(way, rate, flush=True)
            held = {"training.retention": 1.0} if way.endswith(RETAINED) else {}
            own = [{"training.lr": rate, "training.seed": s, **held} for s in range(setting.seeds)]
            began = time.perf_counter()
            models = list(
                train(bench, setting.scheduled(way), [bench.space.with_values(values) for values in own])
            )
            seconds = (time.perf_counter() - began) / setting.seeds
            for seed, left in enumerate(models):
                for n, model in zip(setting.counts, left, strict=True):
                    cell = {"way": way, "rate": rate, "seed": seed, "blocks": n, "seconds": round(seconds, 1)}
                    rows.append(cell | {key: model[key] for key in (*_VALIDATION, *_TEST)})
            write_csv(file, rows)


def summarise(name: str) -> None:
    """The table of all that has been measured."""
    setting = SETTINGS[name]
    rows = read_csv(RESULTS / f"path_{name}.csv")
    rated: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["way"] in setting.ways:
            rated.setdefault((row["way"], row["rate"]), []).append(row)
    measured = {way for way, _ in rated}
    chosen = {way: _best_rate(setting, rated, way) for way in setting.ways if way in measured}
    found = {
        key: [_areas(setting, own, most, _TEST) for most in setting.budgets] for key, own in rated.items()
    }
    lines = []
    for (way, rate), own in rated.items():
        mark = " (chosen)" if rate == chosen[way] else ""
        cost = [f"{float(rate):g}{mark}", setting.spent(way), f"{float(own[0]['seconds']):.0f}"]
        lines.append([way, *cost, *(_text(interval(values)) for values in found[way, rate])])
    for way in list(chosen)[1:]:
        other = "fresh" if way == "path" else "path"
        best = (chosen[way], chosen[other])
        same = [(rate, rate) for rate in dict.fromkeys(rate for _, rate in rated) if way == "path"]
        for ours, theirs in dict.fromkeys([best, *same]):
            pairs = zip(found[way, ours], found[other, theirs], strict=True)
            differences = [_text(interval([a - b for a, b in zip(*areas, strict=True)])) for areas in pairs]
            lines.append([f"{way}, less {other}", f"{ours}, {theirs}", "", "", *differences])
    header = ["way", "rate", "epochs", "seconds", *(f"at most {most}" for most in setting.budgets)]
    accuracies = [
        [way, *(_text(_mean(rated[way, chosen[way]], n, metric)) for n in setting.counts)]
        for metric in _TEST
        for way in chosen
    ]
    table = (
        markdown(header, lines)
        + "\nID accuracy, then retained accuracy, by number of blocks, test, %, at the chosen rates:\n\n"
    )
    table += markdown(["way", *map(str, setting.counts)], accuracies)
    (RESULTS / f"path_{name}.md").write_text(table)
    print(table)


def _mean(rows: Sequence[Row], blocks: int, metric: str) -> Interval | None:
    return interval([float(row[metric]) for row in rows if int(row["blocks"]) == blocks])


def _areas(setting: Setting, rows: Sequence[Row], most: int, names: Sequence[str]) -> list[float]:
    """The hypervolume of each seed's models with at most so many blocks."""
    areas = []
    for seed in range(setting.seeds):
        own = [r for r in rows if int(r["seed"]) == seed and int(r["blocks"]) <= most]
        points = np.array([[float(row[name]) / 100 for name in names] for row in own])
        areas.append(float(moocore.hypervolume(points, ref=REFERENCE_POINT, maximise=True)))
    return areas


def _best_rate(setting: Setting, rated: Mapping[tuple[str, str], Sequence[Row]], way: str) -> str:
    """The learning rate of a way with the largest mean hypervolume on validation."""
    most = max(setting.counts)
    areas = {
        rate: statistics.mean(_areas(setting, rows, most, _VALIDATION))
        for (known, rate), rows in rated.items()
        if known == way
    }
    return max(areas, key=lambda rate: areas[rate])


def _text(found: Interval | None) -> str:
    if found is None:
        return "-"
    digits = 3 if abs(found.mean) <= 1 else 1
    return f"{found.mean:.{digits}f}" + (
        "" if found.half_width is None else f" ± {found.half_width:.{digits}f}"
    )


def main() -> None:
    """Measures, then summarises."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--table", action="store_true", help="only writes the table again")
    arguments = parser.parse_args()
    if not arguments.table:
        measure(arguments.setting)
    summarise(arguments.setting)


if __name__ == "__main__":
    main()
