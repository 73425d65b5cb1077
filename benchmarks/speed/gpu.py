"""What does one GPU make of selective LoRA: trials an hour, what a step waits for, pictures a second?

Aims: packs train at least 12 times as many trials of ViT-B/32 at batch 32 as one at a time; a step of one
trial takes at most 1.5 times as long as its kernels alone; a trial of ViT-B/16 reads pictures as fast as it
trains on them.

Method: training steps of selective LoRA (rank 8, every qkv, proj, fc1 and fc2 of the image tower) by the
project's own training loop, on models with random weights and random pictures that lie on the device, under
bfloat16 autocast. The ways, in the order of what they tell:

- one trial in a process: what all others are divided by;
- packs in one process. One that does not fit into the memory says so;
- operation by operation, each started by the host, where all other steps are replayed from a CUDA graph;
- a count that falls, which closes blocks after every step;
- a pack whose gates are fixed: fc2 of the last 2 layers is open, all else is closed for good. Without the
  shared prefix, and with it: run once a step for all members, or its results remembered;
- several processes of one trial each, started together, each with its own model; their throughputs are added;
- a loop over the layers that goes through `torch.compile`. What that takes is told apart from the figures.

In every round a way and the one trial take turns; figures are medians over the rounds with the least and the
most, ratios are taken within a round. An image counts once for every trial that trains on it. A trial is
10 epochs of 2,000 pictures, without evaluation. Memory is the peak of what tensors take, with the model (all
of a CLIP, as a sweep holds it) and the data, without the CUDA context; on a CPU the largest RSS of the
process so far. The matrix peak is the best of a product of two large matrices in the same precision, measured
before every way; a way's share of it is that of the operations which its step really does, forward and
backward, as torch's FLOP counter counts them. Kernels are what the profiler saw on the GPU; a step's time is
divided by theirs.

Then pictures: made-up JPEGs of 500 x 375 px, by the loader of a training, by torchvision's decoder on the
GPU, and to a ViT-B/16 that trains on them. Rows are written as they are measured, until the minutes are over.

Without a GPU, or with --quick, a small model stands in (on a CPU in float32), and the figures say only that
the script works. It needs torch, timm, open_clip, pydantic and this project's `trainables` and
`search_spaces`; neither Ray, Optuna nor MLflow.

    python -m benchmarks.speed.gpu --minutes 8
    python -m benchmarks.speed.gpu --quick      # a minute or two of two cores
"""

import argparse
import gc
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks._command import command
from benchmarks.speed._gpu_models import (
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
from benchmarks.speed._gpu_pictures import measure_pictures
from benchmarks.speed._gpu_report import TRIAL, Row, line, plot, report, summarised, title

RESULTS = Path(__file__).parents[1] / "results"
LIBRARIES = ("torch", "timm", "open_clip_torch")
_PRODUCTS = 10
_READ = {"method", "training"}  # of a space, by a training
ALONE = Way()


PICTURES = "CLIP ViT-B/16"  # after which, and to which, they are brought
_LAST = 25  # seconds that have to be left for another row


def ways(packs: Sequence[int], fixed: int, processes: Sequence[int]) -> list[Way]:
    """All of them, the most telling first; one trial in a process is the first."""
    return [
        ALONE,
        Way(recorded=False),
        *(Way(pack=pack) for pack in packs),
        Way(pack=packs[1], recorded=False),
        Way(pack=packs[1], count=True),
        *(Way(pack=fixed, open_blocks=2, gib=gib) for gib in (None, 0.0, 8.0)),
        *(Way(processes=count) for count in processes),
    ]


def plan(device: str, quick: bool) -> list[tuple[str, int, list[Way]]]:
    """Models, batch sizes and ways, in the order in which they are measured."""
    if quick:
        return [(STAND_IN, 4, ways((4, 2), 4, (2,)))]
    few = [ALONE, Way(recorded=False), Way(pack=8), Way(pack=16)]
    return [
        ("CLIP ViT-B/32", 32, ways((32, 8, 16, 4, 2, 64), 32, (2, 4, 8))),
        ("CLIP ViT-B/16", 32, few),
        ("DINO ViT-B/16", 32, few),
        ("CLIP ViT-B/32", 128, few),
        ("CLIP ViT-B/32", 32, [ALONE, Way(compiled=True), Way(pack=8, compiled=True)]),
    ]


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


class Bench:
    """The ways of a case, one after the other, each beside one trial.

    Attributes:
        rows: what is known of each: its title and settings, ``flops_per_step`` of a process,
            ``memory_bytes``, ``kernels``, ``rounds`` of spans, ``alone`` with the one trial's; ``error``
            where it could not be.
        peaks: of the matrix product, FLOP/s.
    """

    def __init__(self, case: Case, rounds: int, seconds: float) -> None:
        self.rows: list[Row] = []
        self.peaks: list[float] = []
        self._case, self._rounds, self._seconds = case, rounds, seconds
        self._problem = make_problem(case)
        self._shared = held(case.device)
        self._alone = Running(case, self._problem, ALONE, self._shared)

    def add(self, way: Way) -> None:
        """Measures a way, or puts down why it cannot be."""
        row: Row = {"way": title(way), **asdict(way)}
        self.peaks.append(matrix_flops(self._case.device, self._case.precision))
        try:
            row |= self._of_processes(way) if way.processes > 1 else self._of_pack(way)
        except Exception as error:
            # What a compiler may raise is not known; without one trial there is nothing to compare with.
            known = isinstance(error, torch.OutOfMemoryError | ProcessError)
            if way == ALONE or not (way.compiled or known):
                raise
            told = str(error).partition("\n")[0]
            row["error"] = "out of memory" if "out of memory" in told else told[:200]
        self.rows.append(row)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _of_pack(self, way: Way) -> Row:
        running = self._alone if way == ALONE else Running(self._case, self._problem, way, self._shared)
        known: Row = {
            "flops_per_step": running.flops,
            "memory_bytes": running.bytes,
            "kernels": running.kernels,
            **self._in_turns(running.run),
        }
        if running.compile_seconds is not None:
            known["compile_seconds"] = running.compile_seconds
        return known

    def _of_processes(self, way: Way) -> Row:
        processes = Processes(self._case, [way.processes])
        try:
            memory = processes.bytes(way.processes)
            turns = self._in_turns(partial(processes.run, way.processes))
        finally:
            processes.close()
        kernels = (0.0, 0.0)
        return {"flops_per_step": self._alone.flops, "memory_bytes": memory, "kernels": kernels, **turns}

    def _in_turns(self, run: Callable[[float], list[Span]]) -> Row:
        alone, rounds = [], []
        for _ in range(self._rounds):
            alone.append(self._alone.run(self._seconds))
            rounds.append(run(self._seconds))
        return {"rounds": rounds, "alone": alone}

    @property
    def found(self) -> Row:
        """All that was measured."""
        peak = max(self.peaks)
        rows = [summarised(row, self._case.batch, peak) for row in self.rows]
        return {
            **asdict(self._case),
            "space": make_space(self._case).model_dump(mode="json", by_alias=True, include=_READ),
            "matrix_peak_flops": peak,
            "rows": rows,
        }


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


def write(out: Path, own: Row, cases: Sequence[Row], pictures: Sequence[Row]) -> None:
    """The results as JSON, table and picture."""
    found = {**own, "cases": cases, "pictures": pictures}
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "gpu.md").write_text(report(found))
    plot(cases, out / "gpu.png")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the stand-in, also on a GPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="no row is begun after so many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each way in a round, at least")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args()


def main() -> None:
    """Measures row after row, and writes the results after each."""
    asked = arguments()
    end = time.monotonic() + 60 * asked.minutes
    one_thread()
    device, precision = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
    quick = asked.quick or device == "cpu"
    own = {
        "command": command("speed.gpu"),
        **machine(),
        "settings": {"rounds": asked.rounds, "seconds": asked.seconds, "trial": TRIAL},
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    done: list[Row] = []
    pictures: list[Row] = []
    for model, batch, asked_ways in plan(device, quick):
        bench = Bench(
            Case(model, batch, 64 if quick else 2000, device, precision), asked.rounds, asked.seconds
        )
        for way in asked_ways:
            if end - time.monotonic() < _LAST:
                break
            bench.add(way)
            print(*line(bench.found, bench.found["rows"][-1]), sep=" | ", flush=True)
            write(asked.out, own, [*done, bench.found], pictures)
        if bench.rows:
            done.append(bench.found)
        del bench
        gc.collect()
        if not pictures and (quick or model == PICTURES):
            pictures = measure_pictures(device, quick)
            write(asked.out, own, done, pictures)
            print(pictures, flush=True)
    print((asked.out / "gpu.md").read_text())


if __name__ == "__main__":
    main()
