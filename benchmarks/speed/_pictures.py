"""Made-up pictures, and how the benchmarks open them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from search_spaces import Source
from trainables.data import Task, TimmPreprocessing, load_task, reading

SIZE = 224
EYE = TimmPreprocessing(SIZE, crop_pct=0.9)


def make_pictures(folder: Path, count: int, width: int, height: int) -> Path:
    """JPEGs in two classes: smooth noise, which compresses as photographs do."""
    rng = np.random.default_rng(0)
    for number in range(count):
        file = folder / "ab"[number % 2] / f"{number:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)
    return folder


def opened(folder: Path, gib: float, size: int = SIZE) -> Task:
    """The pictures as a sweep opens them, never in memory; all to learn from but a few."""
    os.environ["SWEEPER_CACHE_GIB"] = str(gib)
    reading._OPEN.clear()
    reading.LARGEST_IN_MEMORY = 0
    source = Source(source="folder", path=str(folder), split=(0.96, 0.02, 0.02))
    return load_task(source, replace(EYE, size=size)).to("cpu")
