"""Do pictures arrive as fast as torch's DataLoader alone brings them, and does training wait for them?

Claims, on two cores: at least 0.95 of a bare DataLoader's pictures a second with as many workers; a second
epoch from the file of decoded pictures 5 times as fast as the first; memory that stays flat over 100,000
pictures.

Made-up JPEGs of 500 x 375 px are read as a ViT of 224 px sees them. The bare loader is a DataLoader over
torchvision's ImageFolder with the same transform. Ways take turns, so that what else the machine does meets
all of them; each one's pictures are compared with the bare loader's before its time counts. The share of a
step that waits is measured on a ViT-Tiny of random weights with LoRA on all blocks. Memory is the
proportional set size of this process and its workers, over small pictures, every file under many names.

    python -m benchmarks.speed.loader            # about ten minutes on two cores
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks._command import command
from benchmarks._results import heading, machine, short, spread, written
from benchmarks._trials import RESULTS
from benchmarks.speed._pictures import EYE, SIZE, make_pictures, opened
from search_spaces import Lora, Points, Space
from search_spaces import Training as TrainingSection
from trainables.backbones import TimmBackbone
from trainables.data import ImageSet
from trainables.data.loader import Stream, in_order, read_ahead
from trainables.data.reading import KeptPixels
from trainables.engine.augment import Augmentation, Augmented
from trainables.engine.training import Training
from trainables.problem import Problem

LIBRARIES = ("torch", "torchvision", "pillow", "timm")
BATCH, CROP, STEPS = 32, 0.3, 8
Way = Callable[[], Iterator[Tensor]]


def bare(folder: Path, rows: list[int], transform: Any, workers: int) -> Iterator[Tensor]:
    """What a plain script has: torchvision's folder, torch's loader."""
    pictures = torch.utils.data.Subset(ImageFolder(str(folder), transform), rows)
    return (pixels for pixels, _ in DataLoader(pictures, BATCH, num_workers=workers))


def rows_of(folder: Path, pixels: KeptPixels) -> list[int]:
    """Places in the folder of a split's pictures."""
    places = {Path(file).name: place for place, (file, _) in enumerate(ImageFolder(str(folder)).samples)}
    pictures: Any = pixels.source.pictures
    return [places[Path(name).name] for name in pictures.pictures.names]


def rate(way: Way) -> tuple[float, float]:
    """Pictures a second, and milliseconds of processors a picture, which no other load changes much."""
    start, used, count = time.perf_counter(), sum(os.times()[:4]), 0
    for pixels in way():
        count += len(pixels)
    return count / (time.perf_counter() - start), 1000 * (sum(os.times()[:4]) - used) / count


def in_turns(ways: dict[str, Way], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """What `rate` gives of each way in each round."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(rate(way))
    return rates


def check_same(ours: Way, theirs: Way) -> None:
    """No way is timed that gives other pictures."""
    for mine, plain in zip(ours(), theirs(), strict=True):
        assert torch.equal(mine, plain)


def cut(images: ImageSet, workers: int) -> Iterator[Tensor]:
    """The pictures cut and mirrored at random, in order."""
    assert images.whole is not None
    rows = torch.arange(len(images)).split(BATCH)
    source = Augmented(images.whole, Augmentation(SIZE, crop=CROP, flip=True))
    return read_ahead(source, [(part, part) for part in rows], workers)


def measure_rates(folder: Path, workers: int, rounds: int) -> list[dict[str, Any]]:
    """The ways to the same pictures, each against the bare loader in the same rounds."""
    kept = opened(folder, 8).train
    assert isinstance(kept.pixels, KeptPixels) and isinstance(kept.whole, KeptPixels)
    streamed = replace(kept, pixels=kept.pixels.source, whole=kept.whole.source)
    rows = rows_of(folder, kept.pixels)
    random = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, (CROP, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
        ]
    )
    plain = partial(bare, folder, rows, EYE.transform(), workers)
    drawn = partial(bare, folder, rows, random, workers)
    whole_kept = replace(kept, whole=kept.whole.made_ready())
    groups: list[dict[str, Way]] = [
        {
            "bare DataLoader": plain,
            "decoded when asked for": partial(in_order, streamed, BATCH, workers),
            "from the file": partial(in_order, kept, BATCH, workers),
            "from the file, no workers": partial(in_order, kept, BATCH, 0),
        },
        {
            "bare DataLoader, random crops": drawn,
            "random crops, decoded when asked for": partial(cut, streamed, workers),
            "random crops from the file": partial(cut, whole_kept, workers),
        },
    ]
    for way in list(groups[0].values())[1:]:
        check_same(way, plain)
    check_same(groups[1]["random crops from the file"], groups[1]["random crops, decoded when asked for"])
    found = []
    for ways in groups:
        rates = in_turns(ways, rounds)
        first = next(iter(rates.values()))
        for name, own in rates.items():
            speeds, costs = zip(*own, strict=True)
            shares = [mine / theirs for (mine, _), (theirs, _) in zip(own, first, strict=True)]
            found.append(
                {
                    "way": name,
                    "pictures a second": spread(speeds),
                    "of the bare loader": spread(shares),
                    "processor ms a picture": spread(costs),
                }
            )
    return found


def measure_epochs(folder: Path, workers: int, rounds: int) -> str:
    """The first epoch, which decodes, beside the second, which finds what it has decoded."""
    first, second = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["SWEEPER_CACHE"] = cache
            start = time.perf_counter()
            images = opened(folder, 8).train
            first.append(time.perf_counter() - start)
            start = time.perf_counter()
            for _ in in_order(images, BATCH, workers):
                pass
            second.append(time.perf_counter() - start)
    times = spread([a / b for a, b in zip(first, second, strict=True)])
    return f"{spread(first)} s, then {spread(second)} s: {times} times"


def measure_wait(folder: Path, gib: float, workers: int) -> str:
    """The share of a training's time in which its process waits for pictures."""
    task = opened(folder, gib)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = timm.create_model("vit_tiny_patch16_224", num_classes=2)
    problem = Problem(TimmBackbone(vit), task, None, {}, (), workers=workers)
    space = Space.model_construct(
        method=Lora(name="lora"),
        training=TrainingSection(batch_size=BATCH, precision="bfloat16"),
        points=Points(),
    )
    training = Training(problem, [space])
    waited: list[float] = []
    with timed(waited):
        training.run_batches(3)
        waited.clear()
        start = time.perf_counter()
        training.run_batches(min(STEPS, training.batches))
        whole = time.perf_counter() - start
    # The first pictures are waited for once an epoch, however long that is.
    return f"{sum(waited[1:]) / whole:.1%} of {short(1000 * whole / len(waited))} ms"


@contextmanager
def timed(waited: list[float]) -> Iterator[None]:
    """Writes down the seconds of each wait for a batch."""
    plain = Stream.read

    def read(self: Stream, number: int) -> Tensor:
        start = time.perf_counter()
        pixels = plain(self, number)
        waited.append(time.perf_counter() - start)
        return pixels

    Stream.read = read  # type: ignore[method-assign]
    try:
        yield
    finally:
        Stream.read = plain  # type: ignore[method-assign]


def measure_memory(folder: Path, count: int, workers: int) -> str:
    """MiB of all processes after each tenth of many small pictures, once around."""
    seeds = list(make_pictures(folder / "some", 500, 48, 40).rglob("*.jpg"))
    for number in range(count):
        file = folder / "many" / "ab"[number % 2] / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(seeds[number % len(seeds)], file)
    images = opened(folder / "many", 0, size=32).train
    tenth = len(images) // 10
    seen: list[float] = []
    for number, _ in enumerate(in_order(images, BATCH, workers)):
        if number * BATCH >= tenth * (len(seen) + 1):
            seen.append(proportional_set())
    return f"{', '.join(f'{mib:.0f}' for mib in seen)} MiB after each tenth of {len(images):,} pictures"


def proportional_set() -> float:
    """MiB of this process and its children, what they share counted once."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    total = 0
    for pid in [str(own), *children]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def main() -> None:
    """Measures all, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=1600, help="large ones")
    parser.add_argument("--small", type=int, default=100_000, help="small ones, for the memory")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        os.environ["SWEEPER_CACHE"] = f"{work}/cache"
        folder = make_pictures(Path(work) / "large", asked.pictures, 500, 375)
        rates = measure_rates(folder, asked.workers, asked.rounds)
        waits = {
            "decoded when asked for, 1 worker": measure_wait(folder, 0, 1),
            "decoded when asked for, no worker": measure_wait(folder, 0, 0),
            "from the file, 1 worker": measure_wait(folder, 8, 1),
        }
        epochs = measure_epochs(folder, asked.workers, asked.rounds)
        memory = measure_memory(Path(work), asked.small, asked.workers)
    about = {"command": command("speed.loader"), **machine(LIBRARIES)}
    page = [
        heading("Pictures on their way to the device", "speed/loader", about),
        f"{asked.workers} workers, {asked.pictures:,} pictures, {asked.rounds} rounds.\n",
        written(rates),
        f"Looking at and decoding all pictures, then an epoch from the file: {epochs}.\n",
        written({"pictures": name, "of a step waits": wait} for name, wait in waits.items()),
        f"Memory: {memory}.",
    ]
    (asked.out / "loader.md").write_text("\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main()
