"""What does each lever of the training bring by itself, and how does the cost of a training grow?

Levers: a *pack* trains several trials over one frozen model; a shared *prefix* runs the layers before a
member's first open block without gradient, once for the pack where its members see the same pictures; with
*memory* it keeps what those layers made of the pictures. `plain` is a training without a prefix.

Method: spaces/clip_lambda.yaml (tiny-clip, 32 px, 8 layers with 4 blocks each) and a ViT-Tiny of timm at 224
px (12 layers) with random weights and pictures; one core, one thread. Blocks have rank 8. By `method.mask`, n
of them are open from the start: the `last` n of the model, the same for all members, which is the best case
of a prefix; or `random` n, drawn for each member apart, which is about the worst. There are eight such draws,
and every pack size trains all of them, in several packs if need be. A step of the ViT-Tiny has at most 256
pictures, of all members together, since each takes 42 MB where all blocks are open. All members have one
seed, as the trials of a sweep have, so they see the same pictures in the same order. A cell trains a few
batches, after one that fills the memory: its figures are those after the first epoch of the first pack. The
ways of a cell are measured one after the other in each round, and rounds repeat the whole; given are medians
over the rounds, and for ratios the least and the most too. On a busy machine the CPU time of the process is
steadier than wall time, so ratios are given of both. `trials an hour` is for a training as in the space, 3
epochs of 1,078 pictures, without evaluation. The lever *evaluation* is `Training.validate`, after a batch of
training. The lever *kept memory* is that a process keeps what a step frees for the next, as all the other
figures have it: each of its own is of a training in a process of its own, without a prefix.

Growth: the same, for a training without packs and prefix and one with both: seconds against trials (pack by
pack, their building included), pack size, open blocks, and the side of the picture. The slope is that of a
line through logarithms: 1 is proportional.

    python -m benchmarks.levers                            # all parts; benchmarks/results/levers.*
    python -m benchmarks.levers --only growth --rounds 1   # the other parts stay as they were measured
"""

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import timm
import torch

from benchmarks._command import command
from benchmarks._levers_report import (
    ALL,
    CLOCKS,
    FEW,
    KEPT,
    MEMORY,
    PACK,
    PLAIN,
    WAYS,
    Row,
    few,
    plot_growth,
    plot_levers,
    report,
)
from benchmarks._results import REPOSITORY, machine
from benchmarks._trials import RESULTS
from search_spaces import Space, load_space
from trainables.backbones import KINDS, TimmBackbone
from trainables.data import ImageSet, Task
from trainables.memory import keep_freed_memory
from trainables.prefix import Prefix
from trainables.probes import KnnProbe
from trainables.problem import Problem, open_problem
from trainables.training import Training

SPACES = REPOSITORY / "spaces"
PARTS = (
    *("tiny-clip", "ViT-Tiny", "ViT-Tiny, random blocks"),
    *("evaluation, tiny-clip", "evaluation, ViT-Tiny", "kept memory", "growth"),
)
BLOCKS, RANK, ROUNDS = (1, 2, 4, 8, 32), 8, 3
DRAWS = 8

Times = tuple[float, float]


@dataclass(frozen=True)
class Sizes:
    """What is measured of a model.

    Attributes:
        pictures: as many are trained on in a measurement, or one batch of the pack where that is more.
        placed: how the open blocks are chosen.
        step: pictures in one step of all members, at most: more would not fit into the memory.
        kept: batch sizes and packs of which steps are measured that keep their memory.
        trials, sides: against which the growth is measured; the sides are in px.
    """

    packs: Sequence[int]
    batches: Sequence[int]
    pictures: int
    placed: Sequence[str] = ("last", "random")
    blocks: Sequence[int] = BLOCKS
    step: float = math.inf
    kept: Sequence[tuple[int, int]] = ((64, 1), (64, 8), (128, 8))
    trials: Sequence[int] = (4, 8, 16, 32, 64)
    sides: Sequence[int] = (64, 96, 128, 160, 224)

    def cells(self, model: "Model", packs: Sequence[int], batches: Sequence[int]) -> list["Cell"]:
        """One for each batch, pack that fits and number of blocks; where all are open, there is one place."""
        every = len(model.names)
        return [
            Cell(batch, pack, blocks, placed)
            for placed, batch, pack, blocks in product(self.placed, batches, packs, self.blocks)
            if batch * pack <= self.step and (placed == self.placed[0] or blocks < every)
        ]


TINY = Sizes((1, 2, 4, 8, 16, 32), (16, 32, 64, 128), 512)
VIT = replace(
    TINY, pictures=64, placed=("last",), step=256, kept=((16, 1), (16, 8), (64, 1), (128, 1), (128, 2))
)
VIT_RANDOM = replace(VIT, packs=(1, 2, 4, 8), batches=(16, 32), placed=("random",), blocks=(2,))
SMALL = Sizes((1, 2), (16,), 32, blocks=(1, 2), kept=((16, 2),), trials=(2, 4), sides=(32, 64))


@dataclass(frozen=True)
class Model:
    """A model with its data, and the space that says how it is trained."""

    name: str
    space: Space
    problem: Problem

    @property
    def names(self) -> tuple[str, ...]:
        """Its blocks, in the order of the forward pass."""
        return self.problem.backbone.block_names(KINDS, ("image",))


@dataclass(frozen=True)
class Cell:
    """What is trained: a pack at a batch size, with so many open blocks.

    Attributes:
        first: which draw of random blocks is that of the first member.
    """

    batch: int
    pack: int
    blocks: int
    placed: str = "last"
    first: int = 0

    def packs(self) -> list["Cell"]:
        """What is measured: of random blocks, as many packs as train every draw once."""
        firsts = range(0, DRAWS, self.pack) if self.placed == "random" else [0]
        return [replace(self, first=first) for first in firsts]

    def masks(self, names: Sequence[str]) -> list[list[str]]:
        """Each member's open blocks, of those that there are."""
        if self.placed == "last":
            return [list(names[-self.blocks :])] * self.pack
        draws = [random.Random((self.first + k) % DRAWS) for k in range(self.pack)]
        return [draw.sample(names, self.blocks) for draw in draws]

    def training(self, model: Model, prefix: Prefix | None) -> Training:
        fixed = {"method.rank": RANK, "training.batch_size": self.batch}
        spaces = [
            model.space.with_values({**fixed, "method.mask": m}).dump() for m in self.masks(model.names)
        ]
        return Training(model.problem, spaces, prefix)


def timed(work: Callable[[], object], per: float) -> Times:
    """Wall and CPU seconds of the work, for one of ``per`` things that it does."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return (time.perf_counter() - wall) / per, (time.process_time() - cpu) / per


def make_prefix(model: Model, way: str) -> Prefix | None:
    gib = WAYS[way]
    return None if gib is None else Prefix(model.problem.backbone, gib)


def open_tiny() -> Model:
    space = load_space(SPACES / "clip_lambda.yaml", ["baselines=[]"])
    return Model("tiny-clip", space, open_problem(space.dump()))


def open_vit(side: int, pictures: int) -> Model:
    """ViT-Tiny with random weights, and pictures of noise in ten classes."""
    space = load_space(SPACES / "dino_lambda.yaml", ["baselines=[]"])
    torch.manual_seed(0)
    size = {"input_size": (3, side, side)}
    vit = timm.create_model("vit_tiny_patch16_224", img_size=side, pretrained_cfg_overlay=size)

    def noise() -> ImageSet:
        pixels = torch.randint(256, (pictures, 3, side, side), dtype=torch.uint8)
        return ImageSet(pixels, torch.arange(pictures) % 10)

    def task() -> Task:
        return Task(tuple("0123456789"), ("a {}",), noise(), noise(), noise())

    problem = Problem(TimmBackbone(vit), task(), None, {}, (KnnProbe("noise", task()),))
    return Model(f"ViT-Tiny, {side} px", space, problem)


def train(model: Model, cell: Cell, prefix: Prefix | None, pictures: int) -> Times:
    """Seconds that one picture takes, of one member."""
    training = cell.training(model, prefix)
    training.run_batches(1)
    batches = max(1, min(training.batches, pictures // (cell.pack * training.batch_size)))
    return timed(lambda: training.run_batches(batches), batches * training.batch_size * cell.pack)


def evaluate(model: Model, cell: Cell, prefix: Prefix | None) -> Times:
    """Seconds of measuring one member on the validation splits."""
    training = cell.training(model, prefix)
    if prefix is not None:
        training.validate()
    training.run_batches(1)
    return timed(training.validate, cell.pack)


def note(row: Row, times: Sequence[Times]) -> None:
    """Adds a round."""
    for clock, seconds in zip(CLOCKS, zip(*times, strict=True), strict=True):
        row[clock].append(float(f"{statistics.mean(seconds):.4g}"))


def rounds_of(
    model: Model, cells: Sequence[Cell], rounds: int, measure: Callable[[Cell, Prefix | None], Times]
) -> list[Row]:
    """A row for each cell and way, with the seconds of all rounds; of several packs, their mean."""
    rows = {(cell, way): {**vars(cell), "way": way, "wall": [], "cpu": []} for cell in cells for way in WAYS}
    for number, (place, cell) in product(range(rounds), enumerate(cells)):
        print(f"round {number + 1}, {place + 1} of {len(cells)}: {cell}", flush=True)
        for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
            prefix = make_prefix(model, way)
            times = [measure(pack, prefix) for pack in cell.packs()]
            note(rows[cell, way], times)
    return list(rows.values())


def grid(model: Model, sizes: Sizes, rounds: int) -> list[Row]:
    """Seconds a picture for every batch size, pack and number of blocks."""
    cells = sizes.cells(model, sizes.packs, sizes.batches)
    return rounds_of(
        model,
        cells,
        rounds,
        lambda cell, prefix: train(model, cell, prefix, sizes.pictures // len(cell.packs())),
    )


def evaluations(model: Model, sizes: Sizes, rounds: int) -> list[Row]:
    """Seconds of evaluating one member, alone and in a pack."""
    cells = sizes.cells(model, [1, few(sizes.packs, PACK)], sizes.batches[:1])
    return rounds_of(model, cells, rounds, lambda cell, prefix: evaluate(model, cell, prefix))


def kept_memory(sizes: Sequence[tuple[Callable[[], Model], Sizes]], rounds: int) -> list[Row]:
    """Seconds a picture with the most open blocks, by processes that keep freed memory and by others."""
    rows: dict[tuple[Any, ...], Row] = {}
    for number, (opened, own) in product(range(rounds), sizes):
        for (batch, pack), way in product(own.kept, list(KEPT)[:: 1 if number % 2 == 0 else -1]):
            cell = Cell(batch, pack, max(own.blocks))
            print(f"kept memory, round {number + 1}: {way}, {cell}", flush=True)
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                work = process.submit(_train_apart, opened, cell, own.pictures, KEPT[way])
                model, times = work.result()
            row = {"model": model, **vars(cell), "way": way, "wall": [], "cpu": []}
            note(rows.setdefault((model, batch, pack, way), row), [times])
    return list(rows.values())


def _train_apart(opened: Callable[[], Model], cell: Cell, pictures: int, keep: bool) -> tuple[str, Times]:
    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    model = opened()
    return model.name, train(model, cell, None, pictures)


def growth(tiny: Model, sizes: Sizes, rounds: int) -> list[Row]:
    """Seconds against each size, by a training without levers and by one with all of them."""
    batch, pack, blocks = few(sizes.batches, 32), few(sizes.packs, PACK), few(sizes.blocks, FEW)
    vits = {side: open_vit(side, pictures=32) for side in sizes.sides}
    rows: dict[tuple[str, int, str], Row] = {}

    def kept(against: str, n: int, name: str, times: Times) -> None:
        row = {"against": against, "size": n, "way": name, "wall": [], "cpu": []}
        note(rows.setdefault((against, n, name), row), [times])

    for number, (name, (way, size)) in product(
        range(rounds), {PLAIN: (PLAIN, 1), ALL: (MEMORY, pack)}.items()
    ):
        print(f"growth, round {number + 1}: {name}", flush=True)
        steps = [("pack", n, tiny, Cell(batch, n, blocks)) for n in sizes.packs]
        steps += [("open blocks", n, tiny, Cell(batch, size, n)) for n in sizes.blocks]
        steps += [("side, px", side, vit, Cell(16, min(size, 2), blocks)) for side, vit in vits.items()]
        for against, n, model, cell in steps:
            wall, cpu = train(model, cell, make_prefix(model, way), sizes.pictures)
            members = n if against == "pack" else 1
            kept(against, n, name, (members * wall, members * cpu))
        for n in sizes.trials:
            kept("trials", n, name, timed(partial(_all_trials, tiny, Cell(batch, size, blocks), way, n), 1))
    return list(rows.values())


def _all_trials(model: Model, cell: Cell, way: str, trials: int) -> None:
    """Builds and trains pack after pack, four batches each."""
    prefix = make_prefix(model, way)
    for first in range(0, trials, cell.pack):
        replace(cell, pack=min(cell.pack, trials - first)).training(model, prefix).run_batches(4)


def open_and_measure(name: str, rounds: int, small: bool) -> list[Row]:
    """The rows of one of the parts."""
    vit, side = (SMALL, 64) if small else (VIT, 224)
    tiny, scattered = (SMALL, replace(SMALL, placed=("random",))) if small else (TINY, VIT_RANDOM)
    measures: dict[str, Callable[[], list[Row]]] = {
        "tiny-clip": lambda: grid(open_tiny(), tiny, rounds),
        "ViT-Tiny": lambda: grid(open_vit(side, pictures=128), vit, rounds),
        "ViT-Tiny, random blocks": lambda: grid(open_vit(side, pictures=128), scattered, rounds),
        "evaluation, tiny-clip": lambda: evaluations(open_tiny(), tiny, rounds),
        "evaluation, ViT-Tiny": lambda: evaluations(
            open_vit(side, pictures=24), replace(vit, blocks=vit.blocks[1:4:2]), rounds
        ),
        "kept memory": lambda: kept_memory(
            [(open_tiny, tiny), (partial(open_vit, side, pictures=128), vit)], rounds
        ),
        "growth": lambda: growth(open_tiny(), tiny, rounds),
    }
    return measures[name]()


def main() -> None:
    """Measures the parts that are asked for, then writes the results of all that there are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="measure these parts alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--small", action="store_true", help="a few small sizes, to see that it works")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "levers.json"
    known: dict[str, Row] = json.loads(file.read_text()) if file.exists() else {}
    for name in options.only or PARTS:
        rows = open_and_measure(name, options.rounds, options.small)
        known[name] = machine() | {"command": command("levers"), "rows": rows}
        file.write_text(json.dumps(known) + "\n")
    parts = {name: known[name] for name in PARTS if name in known}
    text = report(parts)
    (options.out / "levers.md").write_text(text)
    plot_levers(parts, options.out / "levers.png")
    if "growth" in parts:
        plot_growth(parts["growth"]["rows"], options.out / "growth.png")
    print(text)


if __name__ == "__main__":
    main()
