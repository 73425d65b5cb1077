"""What do scaled updates add to a front, without training?

Question: each trained model gives further ones by scaling its update, as a whole (WiSE-FT) or by depth
(LiNeS). How much does the front gain, for a path, for LoRA on every block and for full fine-tuning?

Method: tiny-clip learns the digits, 5 seeds; a path of 7 epochs, the others 3. Every way at each of its
learning rates; the rate is the one whose trained models have the largest mean hypervolume on validation. The
front is chosen among a seed's models on validation; reported is the hypervolume of (ID accuracy, retained
accuracy) as fractions, reference point (0, 0), of these on test splits: means over the seeds with 95 %
intervals (Student's t), and the intervals of what scaling adds, seed by seed.

    python -m benchmarks.points
"""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import moocore
import numpy as np

from benchmarks._trials import RESULTS, Bench, Row, markdown, read_csv, write_csv
from search_spaces import Space
from sweeper.report.confidence import interval
from sweeper.study.front import REFERENCE_POINT, non_dominated
from trainables.engine.training import Training

SPACE = Path("spaces/clip_path.yaml")
SEEDS = 5
PATH = "path: {counts: [32, 24, 16, 12, 8, 6, 4, 2, 1], dense: 0.2857}"
WAYS = {
    "path": (f"method={{name: selective_lora, rank: 8, {PATH}}}", 7, (5e-3,)),
    "lora": ("method={name: lora, rank: 8}", 3, (1e-3, 5e-3)),
    "full": ("method={name: full}", 3, (5e-4, 2e-3)),
}
"""The method, its epochs, and its learning rates."""

POINTS = "points={scale: [0.25, 0.5, 0.75], lines: [0.0, 0.25, 0.5, 0.75], most_blocks: 1000}"
_VALIDATION = ("id_accuracy", "retained_accuracy")
_TEST = ("test/id_accuracy", "test/retained_accuracy")
FRONTS = {
    "trained": ("",),
    "and scaled": ("", "scale"),
    "and by depth": ("", "lines"),
    "and both": ("", "scale", "lines"),
}


def measure(file: Path) -> list[Row]:
    """A row for each model; what is in the file is not trained again."""
    rows = read_csv(file)
    there = {(row["way"], row["rate"]) for row in rows}
    for way, (method, epochs, rates) in WAYS.items():
        bench = _bench(method, epochs)
        for rate in rates:
            if (way, str(rate)) in there:
                continue
            print(way, rate, flush=True)
            for seed in range(SEEDS):
                cell = {"way": way, "rate": rate, "seed": seed}
                space = bench.space.with_values({"training.lr": rate, "training.seed": seed})
                rows += [cell | model for model in _models(bench, space)]
            write_csv(file, rows)
    return read_csv(file)


def _bench(method: str, epochs: int) -> Bench:
    mode = "path" if "path:" in method else "search"
    settings = (
        "data.ood=[]",
        "baselines=[]",
        "confirm=null",
        "search={trials: 1}",
        f"budget={{active_blocks: 2, mode: {mode}}}",
    )
    return Bench.open(SPACE, 1, *settings, method, POINTS, f"training.epochs={epochs}")


def _models(bench: Bench, space: Space) -> Iterator[Row]:
    """What one training leaves, each with the kind of its scaling."""
    training = Training(bench.problem, [space])
    while training.epoch < training.epochs:
        training.train_epoch()
    if not training.levels.counts:
        yield _row("", {**training.validate()[0], **training.test()[0]})
    for point in training.points[0]:
        yield _row(point.scaling.kind if point.scaling else "", dict(point.metrics))


def _row(scaling: str, metrics: Row) -> Row:
    return {"scaling": scaling, **{name: metrics[name] for name in (*_VALIDATION, *_TEST)}}


def front_area(rows: Sequence[Row], names: Sequence[str]) -> float:
    """The hypervolume by these metrics of the models that are on the front by validation."""
    validation = np.array([[float(row[name]) / 100 for name in _VALIDATION] for row in rows])
    points = np.array([[float(row[name]) / 100 for name in names] for row in rows])
    chosen = points[non_dominated(validation)]
    return float(moocore.hypervolume(chosen, ref=REFERENCE_POINT, maximise=True))


def table(rows: Sequence[Row]) -> str:
    """A line a way, then what scaling adds to it."""
    lines = []
    for way, (_, _, rates) in WAYS.items():
        of_way = [row for row in rows if row["way"] == way]
        if not of_way:
            continue
        rate = max(rates, key=lambda rate: statistics.mean(_areas(of_way, rate, ("",), _VALIDATION)))
        areas = {name: _areas(of_way, rate, kinds, _TEST) for name, kinds in FRONTS.items()}
        lines.append([way, f"{rate:g}", *(_text(values) for values in areas.values())])
        gains = [[a - b for a, b in zip(values, areas["trained"], strict=True)] for values in areas.values()]
        lines.append([f"{way}, added", "", "", *(_text(values) for values in gains[1:])])
    return markdown(["way", "rate", *FRONTS], lines)


def _areas(rows: Sequence[Row], rate: float, kinds: Sequence[str], names: Sequence[str]) -> list[float]:
    own = [row for row in rows if row["rate"] == str(rate) and row["scaling"] in kinds]
    return [front_area([row for row in own if row["seed"] == str(seed)], names) for seed in range(SEEDS)]


def _text(values: Sequence[float]) -> str:
    found = interval(values)
    assert found is not None
    return f"{found.mean:.3f} ± {found.half_width or 0.0:.3f}"


def main() -> None:
    """Measures, then writes the table."""
    text = table(measure(RESULTS / "points.csv"))
    (RESULTS / "points.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
