"""What the benchmarks share: trials without Ray, and tables."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch

from search_spaces import Space, load_space
from sweeper.search.samplers import make_sampler
from sweeper.search.suggest import suggest
from trainables.device import device_for
from trainables.engine.training import Training, measure_reference
from trainables.methods import candidate_blocks
from trainables.problem import Problem, open_problem

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """A space's model and data, opened once.

    Attributes:
        space: as it is written.
        problem: with the pre-trained model's scores as reference.
        pack: so many trials are trained together.
    """

    space: Space
    problem: Problem
    pack: int

    @classmethod
    def open(cls, path: Path, pack: int, *overrides: str) -> "Bench":
        """The space at a path, with overrides as `run --set` takes them."""
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        space = load_space(path, overrides)
        problem = open_problem(space).to(device_for(space.resources.gpus_per_trial))
        return cls(space, replace(problem, reference=measure_reference(problem, space)), pack)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The candidate blocks of the space's method."""
        return candidate_blocks(self.problem.backbone, self.space.method)

    def train(self, trials: Sequence[Space], test: bool = False) -> list[Row]:
        """Metrics of trials at their ends, with ``active``, names; they are measured there alone."""
        rows: list[Row] = []
        for first in range(0, len(trials), self.pack):
            rows += self._train_pack(trials[first : first + self.pack], test)
        return rows

    def _train_pack(self, trials: Sequence[Space], test: bool) -> list[Row]:
        training = Training(self.problem, list(trials))
        for _ in range(training.epochs):
            training.train_epoch()
        method = training.learner.method
        rows: list[Row] = [dict(metrics) for metrics in training.validate()]
        for k, (row, tested) in enumerate(zip(rows, training.test() if test else rows, strict=True)):
            row |= {**tested, **method.gate_metrics()[k], "active": method.active_blocks()[k]}
        return rows


class Searched:
    """Trials of a space one after the other, as its sampler proposes them in a study of Optuna.

    Args:
        first: number of the first trial, of which the sampler's seeds are made.
    """

    def __init__(self, bench: Bench, first: int = 0) -> None:
        self._bench, self._first = bench, first
        self._study = optuna.create_study(directions=["maximize", "minimize"])

    def ask(self) -> dict[str, Any]:
        """The next trial's values."""
        number = self._first + len(self._study.trials)
        self._study.sampler = make_sampler(self._bench.space, number, self._bench.blocks)
        self._trial = self._study.ask()
        return suggest(self._bench.space, self._trial)

    def tell(self, row: Row) -> None:
        """Tells the study of the trial what the sweep tells it."""
        budget, blocks = self._bench.space.budget, len(self._bench.blocks)
        told = ("epoch", "active_blocks", "expected_active_blocks")
        self._trial.set_user_attr("metrics", {name: row[name] for name in told})
        self._trial.set_constraint("budget", budget.excess(row["active_blocks"], budget.count(blocks)))
        self._study.tell(self._trial, [row["id_accuracy"], row["forgetting"]])


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One line a row, under the names of the first."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[Row]:
    """What `write_csv` has written, every value as text; nothing where there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)
