"""How many trials does one GPU train in an hour: one at a time, in several processes, in packs?

Aim: packs train at least 12 times as many trials of ViT-B/32 at batch 32 as one at a time.

Method: training steps of selective LoRA (rank 8, every qkv, proj, fc1 and fc2 of the image tower) by the
project's own training loop, on models with random weights and random pictures that lie on the device, under
bfloat16 autocast. The ways:

- one trial in a process: what all others are divided by;
- several processes of one trial each, started together, each with its own model; their throughputs are added;
- a pack in one process. One that does not fit into the memory says so;
- a pack whose gates are fixed: fc2 of the last 2 or 4 layers is open, all else is closed for good. Without
  the shared prefix, and with it: run once a step for all members, or its results remembered;
- a pack whose backbone goes through `torch.compile`. What that takes is told apart from the figures.

All ways of a model and batch size are opened and warmed up first, and all stay open. Then every round runs
each of them for some seconds, the order turned around in every other round. Figures are medians over the
rounds with the least and the most; ratios are taken within a round. An image counts once for every trial that
trains on it. Trials of a pack have one seed, as in a sweep by default, so they see the same pictures; only
the shared prefix makes use of that. A trial is 10 epochs of 2,000 pictures, without evaluation. Memory is the
peak of what tensors take, with the model (all of a CLIP, as a sweep holds it) and the data, without the CUDA
context; on a CPU it is the largest RSS of the process so far. The matrix peak is the best of a product of two
large matrices in the same precision, measured in every round; a way's share of it is that of the operations
which its step really does, forward and backward, as torch's FLOP counter counts them. (A compiled step is
counted before it is compiled.)

Without a GPU, or with --quick, a small model stands in (on a CPU in float32), and the figures say only that
the script works. It needs torch, timm, open_clip and this project's `trainables`; neither Ray, Optuna nor
MLflow.

    python -m benchmarks.gpu           # --model and --batch for a part; what was measured before is kept
    python -m benchmarks.gpu --quick   # minutes of two cores, most of them torch.compile's
"""

import argparse
import gc
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import torch
import torch._inductor.config

from benchmarks._command import command
from benchmarks._gpu_models import (
    MODELS,
    STAND_IN,
    Case,
    ProcessError,
    Processes,
    Running,
    Span,
    Way,
    held,
    make_problem,
    make_space,
    one_thread,
    synchronize,
)
from benchmarks._gpu_report import TRIAL, Row, plot, report, summarised, title

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "timm", "open_clip_torch")
_PRODUCTS = 10
ALONE = Way()


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        pictures: in the training split.
        shared: packs whose gates are fixed.
        gib: memory of a shared prefix that remembers.
        compiled: the pack that is compiled.
    """

    models: Sequence[str]
    batches: Sequence[int]
    pictures: int
    packs: Sequence[int]
    processes: Sequence[int]
    shared: Sequence[int]
    gib: float
    compiled: int


FULL = Size(
    [name for name in MODELS if name != STAND_IN],
    (32, 128),
    2000,
    (1, 2, 4, 8, 16, 32),
    (2, 4, 8),
    (8, 32),
    8,
    8,
)
REDUCED = Size((STAND_IN,), (4,), 64, (1, 2, 4), (2,), (4,), 1, 4)


def ways(size: Size, with_compiled: bool) -> Iterator[Way]:
    """All of them; one trial in a process is the first."""
    yield from (Way(pack=pack) for pack in size.packs)
    for pack in size.shared:
        for blocks in (2, 4):
            yield from (Way(pack=pack, open_blocks=blocks, gib=gib) for gib in (None, 0.0, size.gib))
    yield from (Way(processes=count) for count in size.processes)
    if with_compiled:
        yield Way(pack=size.compiled, compiled=True)


def matrix_flops(device: str, precision: str) -> float:
    """FLOP/s of a product of two large matrices of random numbers."""
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=getattr(torch, precision)) for _ in range(2))
    a @ b
    synchronize(device)
    start = time.perf_counter()
    for _ in range(_PRODUCTS):
        a @ b
    synchronize(device)
    return _PRODUCTS * 2 * side**3 / (time.perf_counter() - start)


class Opened:
    """The ways of a case, opened and warmed up.

    Attributes:
        rows: what is known of each: its title and settings, ``flops_per_step`` of a process,
            ``memory_bytes``, ``rounds`` of spans; ``error`` where it could not be.
    """

    def __init__(self, case: Case, asked: Sequence[Way], processes: Processes) -> None:
        self.rows: dict[Way, Row] = {}
        self._runs: dict[Way, Callable[[float], list[Span]]] = {}
        problem = make_problem(case)
        shared = held(case.device)
        for way in asked:
            print(f"{case.model}, batch {case.batch}: opening {title(way)}", flush=True)
            self.rows[way] = {"way": title(way), **asdict(way), "rounds": []}
            with self._kept_if_it_fails(way):
                if way.processes > 1:
                    self._open_processes(way, processes)
                else:
                    self._open(way, Running(case, problem, way, shared))

    def _open(self, way: Way, running: Running) -> None:
        self.rows[way] |= {"flops_per_step": running.flops, "memory_bytes": running.bytes}
        if running.compile_seconds is not None:
            self.rows[way]["compile_seconds"] = running.compile_seconds
        self._runs[way] = running.run

    def _open_processes(self, way: Way, processes: Processes) -> None:
        memory = processes.bytes(way.processes)
        self.rows[way] |= {"flops_per_step": self.rows[ALONE]["flops_per_step"], "memory_bytes": memory}
        self._runs[way] = partial(processes.run, way.processes)

    def round(self, asked: Sequence[Way], seconds: float) -> None:
        """Runs every way that still can, in this order."""
        for way in asked:
            with self._kept_if_it_fails(way):
                if way in self._runs:
                    self.rows[way]["rounds"].append(self._runs[way](seconds))

    @contextmanager
    def _kept_if_it_fails(self, way: Way) -> Iterator[None]:
        """Puts down why a way cannot be; it is not run again."""
        try:
            yield
        except Exception as error:
            # What a compiler may raise is not known; without one trial there is nothing to compare with.
            if way == ALONE or not (way.compiled or isinstance(error, torch.OutOfMemoryError | ProcessError)):
                raise
            told = str(error).partition("\n")[0]
            self.rows[way]["error"] = "out of memory" if "out of memory" in told else told[:200]
            self._runs.pop(way, None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def measure(case: Case, asked: Sequence[Way], rounds: int, seconds: float) -> Row:
    """All ways of a case, in turns."""
    processes = Processes(case, [way.processes for way in asked])
    peaks = []
    try:
        opened = Opened(case, asked, processes)
        for number in range(rounds):
            print(f"{case.model}, batch {case.batch}: round {number + 1} of {rounds}", flush=True)
            peaks.append(matrix_flops(case.device, case.precision))
            opened.round(asked[:: -1 if number % 2 else 1], seconds)
    finally:
        processes.close()
        torch.compiler.reset()
    rows = summarised([opened.rows[way] for way in asked], case.batch, max(peaks))
    return {**asdict(case), "space": make_space(case), "matrix_peak_flops": max(peaks), "rows": rows}


def machine() -> Row:
    """What the figures are measured on."""
    known = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(": ")[2] for line in known if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = "no GPU"
    if torch.cuda.is_available():
        own = torch.cuda.get_device_properties(0)
        gpu = f"{own.name}, {own.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    versions = {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return {
        "machine": f"{gpu}; {os.cpu_count()} cores ({processor}), {memory:.0f} GiB",
        "versions": versions,
    }


def kept(file: Path, own: Row) -> list[Row]:
    """The cases that the same machine has measured before, with the same versions and settings."""
    before = json.loads(file.read_text()) if file.exists() else {}
    same = all(before.get(name) == own[name] for name in own if name != "command")
    return before["cases"] if same else []


def write(out: Path, own: Row, cases: Sequence[Row]) -> None:
    """The results as JSON, table and picture."""
    found = {**own, "cases": cases}
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "gpu.md").write_text(report(found))
    plot(cases, out / "gpu.png")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the stand-in, also on a GPU")
    parser.add_argument("--model", choices=FULL.models, action="append", help="these alone, on a GPU")
    parser.add_argument(
        "--batch", type=int, choices=FULL.batches, action="append", help="these alone, on a GPU"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in a round, at least")
    parser.add_argument(
        "--no-compile", action="store_true", help="without torch.compile, which takes longest"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args()


def main() -> None:
    """Measures case after case, and writes the results after each."""
    asked = arguments()
    # Or else the time that compiling takes would depend on what was run before.
    torch._inductor.config.force_disable_caches = True
    one_thread()
    device, precision = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
    size = REDUCED if asked.quick or device == "cpu" else FULL
    if size is FULL:
        size = replace(FULL, models=asked.model or FULL.models, batches=asked.batch or FULL.batches)
    own = {
        "command": command("gpu"),
        **machine(),
        "settings": {"rounds": asked.rounds, "seconds": asked.seconds, "trial": TRIAL},
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    cases = kept(asked.out / "gpu.json", own)
    for model, batch in product(size.models, size.batches):
        case = Case(model, batch, size.pictures, device, precision)
        found = measure(case, list(ways(size, not asked.no_compile)), asked.rounds, asked.seconds)
        cases = [c for c in cases if (c["model"], c["batch"]) != (model, batch)] + [found]
        write(asked.out, own, cases)
    print((asked.out / "gpu.md").read_text())


if __name__ == "__main__":
    main()
