"""At equal active blocks, does it matter how the blocks are chosen?

Claim under test: blocks that the task chooses (controlled, search) learn more, or forget less, than as many
blocks chosen at random, by the size of their updates, or from the end of the network.

Method: low-rank blocks of rank 8 on a frozen model, all with the same schedule. `controlled` lets the number
of open blocks fall inside the trial. `search` is the first trial of the budget sampler, of at most SEARCHED,
that ends with exactly the budget. `largest` trains plain LoRA for the whole schedule first, then the blocks
that grew most. Every way is trained at every learning rate with every seed; the rate of a way and budget is
the one with the highest mean ID accuracy on validation. Reported are its means over the seeds with 95 %
intervals (Student's t), measured on test splits. A star marks a difference to `random` by Welch's test at the
5 % level, for each cell by itself: of twenty such cells one has a star by chance.

    python -m benchmarks.quality tiny      # the shipped CLIP, 5 seeds: about half an hour of one core
    python -m benchmarks.quality pacs      # ViT-Tiny learns PACS sketches, 3 seeds; needs SWEEPER_DATA
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import optuna

from benchmarks._trials import RESULTS, Bench, Row, Searched, markdown, read_csv, write_csv
from search_spaces import load_space
from sweeper.report.confidence import Interval, interval, welch

RANK, SEARCHED = 8, 6
WAYS = ("controlled", "random", "largest", "last", "search")
MEASURES = {"test/id_accuracy": "ID accuracy, test", "test/retained_accuracy": "retained accuracy, test"}
_KEPT = ("trainings", "active_blocks", "id_accuracy", "forgetting", *MEASURES)
_PRICES = "search={sampler: budget, trials: 1, parameters: {method.lambda: {low: 0.05, high: 20, log: true}}}"


@dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
        blocks: of the model, for the table.
        pack: trials that train together.
    """

    space: Path
    blocks: int
    budgets: Sequence[int]
    rates: Sequence[float]
    seeds: int
    pack: int


SETTINGS = {
    "tiny": Setting(Path("spaces/clip_lambda.yaml"), 32, (1, 2, 4, 8), (5e-3, 1e-2), 5, 10),
    "pacs": Setting(Path("spaces/pacs_sketch.yaml"), 48, (3, 6), (1e-3, 5e-3), 3, 1),
}


class Quality:
    """One way at one budget."""

    def __init__(self, bench: Bench, setting: Setting, way: str, budget: int) -> None:
        self.way, self.budget = way, budget
        method = {"random": "random_blocks", "largest": "largest_norm"}.get(way, "selective_lora")
        search = _PRICES if way == "search" else "search={trials: 1}"
        asked = f"budget={{active_blocks: {budget}, rule: exactly}}"
        space = load_space(
            setting.space, ["baselines=[]", search, asked, f"method={{name: {method}, rank: {RANK}}}"]
        )
        self.bench = replace(bench, space=space)
        self.values: Mapping[str, Any] = {"method.active_blocks": budget}
        if way == "last":
            self.values = {"method.mask": list(bench.blocks[-budget:])}

    def rows(self, cells: Sequence[tuple[float, int]]) -> Iterator[Row]:
        """A row for each learning rate and seed."""
        values = [{"training.lr": rate, "training.seed": seed} for rate, seed in cells]
        if self.way == "search":
            found = [self._search(own) for own in values]
        else:
            trials = [self.bench.space.with_values({**self.values, **own}) for own in values]
            found = [{**row, "trainings": 1} for row in self.bench.train(trials, test=True)]
        for (rate, seed), row in zip(cells, found, strict=True):
            kept = {name: row[name] for name in _KEPT}
            yield {"way": self.way, "budget": self.budget, "rate": rate, "seed": seed, **kept}

    def _search(self, values: Mapping[str, Any]) -> Row:
        """The first trial with just the budget, or the last one."""
        searched = Searched(self.bench)
        for number in range(1, SEARCHED + 1):
            space = self.bench.space.with_values({**searched.ask(), **values})
            row = {**self.bench.train([space], test=True)[0], "trainings": number}
            if row["active_blocks"] == self.budget:
                break
            searched.tell(row)
        return row


def measure(name: str, ways: Sequence[str]) -> None:
    """Runs what is not in the table of rows yet; seed by seed where trials are not packed."""
    setting, path = SETTINGS[name], RESULTS / f"quality_{name}.csv"
    rows = read_csv(path)
    there = {(row["way"], int(row["budget"]), int(row["seed"])) for row in rows}
    bench = Bench.open(setting.space, setting.pack, "baselines=[]")
    seeds = range(setting.seeds)
    groups = [list(seeds)] if setting.pack > 1 else [[seed] for seed in seeds]
    for group, budget, way in product(groups, setting.budgets, ways):
        cells = [(rate, s) for s in group if (way, budget, s) not in there for rate in setting.rates]
        if cells:
            print(way, budget, group, flush=True)
            rows += Quality(bench, setting, way, budget).rows(cells)
            write_csv(path, rows)


def summarise(name: str) -> None:
    """The table of all that has been measured."""
    rows = read_csv(RESULTS / f"quality_{name}.csv")
    lines = []
    for budget in SETTINGS[name].budgets:
        chosen = {
            way: _at_its_rate([r for r in rows if (r["way"], r["budget"]) == (way, str(budget))])
            for way in WAYS
        }
        for way, own in chosen.items():
            if own:
                lines.append([f"{budget} of {SETTINGS[name].blocks}", way, *_cells(own, chosen["random"])])
    header = ["blocks", "chosen by", "rate", "seeds", "trainings", *MEASURES.values()]
    table = markdown(header, lines)
    (RESULTS / f"quality_{name}.md").write_text(table)
    print(table)


def _cells(own: Sequence[Row], control: Sequence[Row]) -> list[str]:
    """What a line of the table says of a way."""
    inside = [row for row in own if row["active_blocks"] == row["budget"]]
    cells = [f"{float(own[0]['rate']):g}", f"{len(inside)} of {len(own)}"]
    cells.append(f"{statistics.mean(int(row['trainings']) for row in own):.1f}")
    for measure_ in MEASURES:
        values, others = ([float(row[measure_]) for row in part] for part in (inside, control))
        found = interval(values)
        differs = own is not control and min(len(values), len(others)) > 1 and welch(values, others) < 0.05
        cells.append(_text(found) + (" *" if differs else ""))
    return cells


def _text(found: Interval | None) -> str:
    """A mean with its interval, or a single value alone."""
    if found is None:
        return "-"
    return f"{found.mean:.1f}" + ("" if found.half_width is None else f" ± {found.half_width:.1f}")


def _at_its_rate(rows: Sequence[Row]) -> list[Row]:
    """The rows of the learning rate with the highest mean ID accuracy on validation."""
    rates = {row["rate"] for row in rows}
    mean = {
        rate: statistics.mean(float(row["id_accuracy"]) for row in rows if row["rate"] == rate)
        for rate in rates
    }
    return [row for row in rows if row["rate"] == max(mean, key=mean.__getitem__)] if rows else []


def main() -> None:
    """Measures, then summarises."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=WAYS, help="only these, beside what is there"
    )
    parser.add_argument("--table", action="store_true", help="only writes the table again")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not arguments.table:
        measure(arguments.setting, arguments.ways)
    summarise(arguments.setting)


if __name__ == "__main__":
    main()
