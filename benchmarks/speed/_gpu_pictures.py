"""Pictures on their way to a GPU: how many a second the loader brings, and a trial takes."""

import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from benchmarks.speed._gpu_models import MODELS, STAND_IN, Case, make_problem, make_space, synchronize
from benchmarks.speed._gpu_report import Row, spread
from benchmarks.speed._pictures import make_pictures, opened
from trainables.data.images import no_images
from trainables.data.loader import in_order
from trainables.engine.training import Training
from trainables.problem import Problem

_ROUNDS = 2


def measure_pictures(device: str, quick: bool) -> list[Row]:
    """Each way to the same JPEGs, in pictures a second."""
    workers = max(1, (os.cpu_count() or 1) - 2)
    with tempfile.TemporaryDirectory() as work:
        os.environ["SWEEPER_CACHE"] = f"{work}/cache"
        folder = _many(Path(work), 200 if quick else 8000)
        return [
            *_by_the_loader(folder, device, workers, quick),
            *([] if device == "cpu" else [_on_the_gpu(folder)]),
            *([] if device == "cpu" else [_memory()]),
        ]


def _many(work: Path, count: int) -> Path:
    """So many JPEGs: some, each under several names."""
    some = sorted(make_pictures(work / "some", min(count, 400), 500, 375).rglob("*.jpg"))
    for number in range(count):
        file = work / "many" / "ab"[number % 2] / f"{number:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(some[number % len(some)], file)
    return work / "many"


def _by_the_loader(folder: Path, device: str, workers: int, quick: bool) -> list[Row]:
    model, batch = (STAND_IN, 4) if quick else ("CLIP ViT-B/16", 32)
    backbone = MODELS[model]().to(device)
    found: list[Row] = []
    for name, gib in (("decoded when asked for", 0.0), ("decoded before", 8.0)):
        task = opened(folder, gib, backbone.preprocessing.size)
        train = replace(task.train, labels=task.train.labels.to(device))
        nothing = no_images(backbone.preprocessing.size)
        images = replace(task, train=train, val=nothing, test=nothing)
        problem = Problem(backbone, images, None, {}, (), workers=workers)
        precision = "float32" if device == "cpu" else "bfloat16"
        training = Training(problem, [make_space(Case(model, batch, len(train), device, precision))])
        training.run_batches(3)
        count = training.batches * training.batch_size

        def trained(training: Training = training) -> None:
            training.run_batches(training.batches)

        def read(train: object = train) -> None:
            for _ in in_order(train, batch, workers):  # type: ignore[arg-type]
                pass

        found.append(_timed(f"{name}, {workers} workers, read alone", read, len(train), device))
        found.append(_timed(f"{name}, {workers} workers, one trial of {model}", trained, count, device))
    return found


def _on_the_gpu(folder: Path) -> Row:
    files = [read_file(str(file)) for file in sorted(folder.rglob("*.jpg"))[:1024]]

    def decoded() -> None:
        for start in range(0, len(files), 64):
            decode_jpeg(files[start : start + 64], mode=ImageReadMode.RGB, device="cuda")

    try:
        return _timed("decoded on the GPU by torchvision, not resized", decoded, len(files), "cuda")
    except RuntimeError as error:
        return {"way": "decoded on the GPU by torchvision", "text": str(error).partition("\n")[0]}


def _memory() -> Row:
    """What tensors take after each of some packs in one process."""
    case = Case("CLIP ViT-B/32", 32, 512, "cuda", "bfloat16")
    problem = make_problem(case)
    taken = []
    for _ in range(5):
        training = Training(problem, [make_space(case)] * 8)
        training.run_batches(4)
        del training
        gc.collect()
        torch.cuda.empty_cache()
        taken.append(f"{torch.cuda.memory_reserved() / 2**20:.0f}")
    return {"way": "MiB that are held after each of 5 packs of 8", "text": ", ".join(taken)}


def _timed(way: str, run: Callable[[], None], count: int, device: str) -> Row:
    rates = []
    for _ in range(_ROUNDS):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        rates.append(count / (time.perf_counter() - start))
    return {"way": way, "pictures_a_second": spread(rates)}
