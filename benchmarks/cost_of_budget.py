"""How many trainings until the first one with exactly 2 of 32 active blocks?

Claim: a controlled trial needs 1, the budget sampler at most 3 in the median; samplers that know nothing of
the curve need more than that, if they get there at all.

Method: the shipped CLIP and the space of spaces/clip_lambda.yaml, but with one epoch a training, and lambda
between 0.01 and 10, as a person has to write it who knows nothing yet; rank among five values. 20 seeds each,
which seed both the sampler and the training. What the budget sampler takes for granted was chosen on
trainings of three epochs. A search ends at the first trial inside the budget, or after MOST. The samplers are
Optuna's, told of the constraint by `trial.set_constraint`, as the sweep makes them: the first ten trials of
TPE and GP, and the first fifty of NSGA-II, are points of a scrambled Sobol' sequence. Bisection halves the
logarithm of lambda at rank 8. Trainings are counted, not seconds: all have the same epochs. The seeds of one
way train side by side in packs; a trial's numbers do not depend on its pack.

    python -m benchmarks.cost_of_budget            # about an hour of one core; --only WAY for a part
"""

import argparse
import math
import statistics
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import optuna

from benchmarks._trials import RESULTS, Bench, Row, Searched, markdown, read_csv, write_csv
from search_spaces import Space

BUDGET, SEEDS, MOST, PACK, EPOCHS = 2, 20, 16, 10, 1
LOW, HIGH = 0.01, 10.0
SPACE = Path("spaces/clip_lambda.yaml")
WAYS = {
    "controlled": "controlled, in the trial",
    "budget": "search, sampler: budget",
    "bisection": "bisection",
    "tpe": "Optuna TPE",
    "gp": "Optuna GP",
    "nsga2": "Optuna NSGA-II",
    "random": "Optuna random",
}


class Attempts:
    """One way to the budget, with one seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.seed = seed

    @abstractmethod
    def values(self) -> Mapping[str, object]:
        """The next trial's."""

    def tell(self, row: Row) -> None:
        """Learns from a trial that missed the budget."""

    def ask(self) -> Space:
        """The next trial."""
        return self.bench.space.with_values({"training.seed": self.seed, **self.values()})


class Controlled(Attempts):
    """The count falls to the budget inside the trial."""

    def values(self) -> Mapping[str, object]:
        """Rank 8."""
        return {"method.active_blocks": BUDGET, "method.rank": 8}


class Bisection(Attempts):
    """Halves the logarithm of lambda: too many active blocks ask for a higher price."""

    low, high = math.log(LOW), math.log(HIGH)

    def values(self) -> Mapping[str, object]:
        """The middle, at rank 8."""
        self.middle = (self.low + self.high) / 2
        return {"method.lambda": math.exp(self.middle), "method.rank": 8}

    def tell(self, row: Row) -> None:
        """Keeps one half."""
        if row["active_blocks"] > BUDGET:
            self.low = self.middle
        else:
            self.high = self.middle


class Sampled(Attempts):
    """A study of Optuna with the space's sampler, and the budget as its constraint."""

    def __init__(self, bench: Bench, seed: int) -> None:
        super().__init__(bench, seed)
        self.searched = Searched(bench, 1000 * seed)

    def values(self) -> Mapping[str, object]:
        """As the sampler proposes them."""
        return self.searched.ask()

    def tell(self, row: Row) -> None:
        """Tells the study what the sweep tells it."""
        self.searched.tell(row)


Way = Callable[[Bench, int], Attempts]


def trainings_until_met(bench: Bench, way: Way) -> Iterator[Row]:
    """A row for each seed: its trainings until the budget was met; None where MOST were not enough."""
    searching = [way(bench, seed) for seed in range(SEEDS)]
    for number in range(1, MOST + 1):
        missed = []
        for attempts, row in zip(searching, bench.train([a.ask() for a in searching]), strict=True):
            if row["active_blocks"] == BUDGET:
                yield {"seed": attempts.seed, "trainings": number}
            else:
                attempts.tell(row)
                missed.append(attempts)
        searching = missed
        print(f"after {number}: {SEEDS - len(searching)} of {SEEDS}", flush=True)
        if not searching:
            return
    yield from ({"seed": attempts.seed, "trainings": None} for attempts in searching)


def measure(way: str) -> None:
    """Runs one way and keeps its rows."""
    sampler = way if way in ("budget", "tpe", "gp", "nsga2", "random") else "tpe"
    parameters = (
        f"method.lambda: {{low: {LOW}, high: {HIGH}, log: true}}, method.rank: {{choices: [1, 2, 4, 8, 16]}}"
    )
    bench = Bench.open(
        SPACE,
        PACK,
        f"budget={{active_blocks: {BUDGET}, rule: exactly}}",
        f"search={{sampler: {sampler}, trials: {MOST}, parameters: {{{parameters}}}}}",
        "baselines=[]",
        f"training.epochs={EPOCHS}",
    )
    kinds: dict[str, Way] = {"controlled": Controlled, "bisection": Bisection}
    kind = kinds.get(way, Sampled)
    write_csv(RESULTS / "cost_of_budget" / f"{way}.csv", trainings_until_met(bench, kind))


def summarise() -> None:
    """The table and the plot of all ways that have been measured."""
    lines, figure = [], plt.figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for way, name in WAYS.items():
        path = RESULTS / "cost_of_budget" / f"{way}.csv"
        taken = [float(row["trainings"] or math.inf) for row in read_csv(path)]
        if not taken:
            continue
        met = [number for number in taken if number <= MOST]
        median = statistics.median(taken)
        shown = f"{median:g}" if median <= MOST else f"more than {MOST}"
        lines.append(
            [
                name,
                shown,
                f"{max(met):g}" if len(met) == len(taken) else f"more than {MOST}",
                f"{len(met)} of {len(taken)}",
            ]
        )
        counts = range(MOST + 1)
        axes.step(
            counts, [100 * sum(t <= n for t in taken) / len(taken) for n in counts], where="post", label=name
        )
    axes.set(xlabel="trainings", ylabel=f"seeds that met {BUDGET} of 32 blocks, %", xlim=(0, MOST))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(RESULTS / "cost_of_budget.png", dpi=150)
    table = markdown(["way", "trainings, median", "worst", f"met within {MOST}"], lines)
    (RESULTS / "cost_of_budget.md").write_text(table)
    print(table)


def main() -> None:
    """Measures, then summarises."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=WAYS, action="append", help="measure these ways alone")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for way in arguments.only or WAYS:
        print(way, flush=True)
        measure(way)
    summarise()


if __name__ == "__main__":
    main()
