"""What does each lever of the training bring by itself, and how does the cost of a training grow?

Levers: a *pack* trains several trials over one frozen model; a shared *prefix* runs the layers before a
member's first open block without gradient, once for the pack where its members see the same pictures; with
*memory* it keeps what those layers made of the pictures. `plain` is a training without a prefix.

Method: spaces/clip_lambda.yaml (tiny-clip, 32 px, 8 layers with 4 blocks each) and a ViT-Tiny of timm at 224
px (12 layers) with random weights and pictures; one core, one thread. Blocks have rank 8. By `method.mask`, n
of them are open from the start: the `last` n of the model, the same for all members, which is the best case
of a prefix; or `random` n, drawn for each member apart, which is about the worst. There are eight such draws,
and every pack size trains all of them, in several packs if need be. A step of the ViT-Tiny has at most 1,024
pictures, of all members together, and 256 where 32 blocks or random ones are open: a picture takes 42 MB
where all are, and less the fewer of the last ones. All members have one seed, as the trials of a sweep have,
so they see the same pictures in the same order. A cell trains a few batches, after one that fills the memory:
its figures are those after the first epoch of the first pack. The ways of a cell are measured one after the
other in each round, and rounds repeat the whole; given are medians over the rounds, and for ratios the least
and the most too. On a busy machine the CPU time of the process is steadier than wall time, so ratios are
given of both. `trials an hour` is for a training as in the space, 3 epochs of 1,078 pictures, without
evaluation. The lever *evaluation* is `Training.validate`, after a batch of training. The lever *kept memory*
is that a process keeps what a step frees for the next, as all the other figures have it: each of its own is
of a training in a process of its own, without a prefix.

Growth: the same, for a training without packs and prefix and one with both: seconds against trials (pack by
pack, their building included), pack size, open blocks, and the side of the picture. The slope is that of a
line through logarithms: 1 is proportional.

    python -m benchmarks.speed.levers                            # all parts; benchmarks/results/levers.*
    python -m benchmarks.speed.levers --only growth --rounds 1   # the other parts stay as they were measured
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks._command import command
from benchmarks._results import machine
from benchmarks._trials import RESULTS
from benchmarks.speed._levers_models import (
    SMALL,
    TINY,
    VIT,
    VIT_RANDOM,
    Cell,
    Model,
    Sizes,
    open_tiny,
    open_vit,
)
from benchmarks.speed._levers_report import (
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
from trainables.engine.memory import keep_freed_memory, return_freed_memory
from trainables.engine.prefix import Prefix

PARTS = (
    *("tiny-clip", "ViT-Tiny", "ViT-Tiny, random blocks"),
    *("evaluation, tiny-clip", "evaluation, ViT-Tiny", "kept memory", "growth"),
)
ROUNDS = 3

Times = tuple[float, float]


def timed(work: Callable[[], object], per: float) -> Times:
    """Wall and CPU seconds of the work, for one of ``per`` things that it does."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return (time.perf_counter() - wall) / per, (time.process_time() - cpu) / per


def make_prefix(model: Model, way: str) -> Prefix | None:
    gib = WAYS[way]
    return None if gib is None else Prefix(model.problem.backbone, gib)


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
            return_freed_memory()
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
    open_large = partial(open_vit, side, pictures=max(vit.batches))
    tiny, scattered = (SMALL, replace(SMALL, placed=("random",))) if small else (TINY, VIT_RANDOM)
    measures: dict[str, Callable[[], list[Row]]] = {
        "tiny-clip": lambda: grid(open_tiny(), tiny, rounds),
        "ViT-Tiny": lambda: grid(open_large(), vit, rounds),
        "ViT-Tiny, random blocks": lambda: grid(open_large(), scattered, rounds),
        "evaluation, tiny-clip": lambda: evaluations(open_tiny(), tiny, rounds),
        "evaluation, ViT-Tiny": lambda: evaluations(
            open_vit(side, pictures=24), replace(vit, blocks=vit.blocks[1:4:2]), rounds
        ),
        "kept memory": lambda: kept_memory([(open_tiny, tiny), (open_large, vit)], rounds),
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
        known[name] = machine() | {"command": command("speed.levers"), "rows": rows}
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
