"""Real pictures on disk, made by PIL, and source sections of a space."""

import pickle
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from search_spaces import Probe, Source
from trainables.data import ImageSet, TimmPreprocessing, load_task
from trainables.fingerprint import fingerprint


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Pictures that lie beside the project."""
    folder = Path(__file__).parents[4] / "shared" / "data"
    if not (folder / "pacs").is_dir():
        pytest.skip(
            "needs PACS and a sample of ImageNet in ../shared/data, which are not part of the project"
        )
    return folder


@pytest.fixture(scope="session")
def make_source() -> Callable[..., Source | Probe]:
    """Gives a resolved source section."""

    def make(source: str, **values: Any) -> Source | Probe:
        if "path" in values:
            values["path"] = str(values["path"])
        if source == "pairs":
            return Probe(source="pairs", score="retrieval", **values)
        return Source.model_validate({"source": source, **values})

    return make


@pytest.fixture
def read_lazily(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source | Probe], ImageSet]:
    """Gives the test split of a source, not in memory; pickled or not, it is the one that is."""

    def read(source: Source | Probe) -> ImageSet:
        small = TimmPreprocessing(16)
        in_memory = load_task(source, small, ("test",)).test
        monkeypatch.setattr("trainables.data.reading.LARGEST_IN_MEMORY", 1000)
        lazy = load_task(source, small, ("test",)).test
        again: ImageSet = pickle.loads(pickle.dumps(lazy))
        assert not isinstance(again.pixels, Tensor) and isinstance(in_memory.pixels, Tensor)
        assert torch.equal(torch.cat(list(again.batches(4))), in_memory.pixels)
        assert fingerprint(again) == fingerprint(lazy)
        return lazy

    return read


@pytest.fixture(scope="session")
def write_picture() -> Callable[..., Path]:
    """Writes a picture of noise that no other picture has, unless it is given a seed; gives the file."""
    fresh = count(1000)

    def write(file: Path, seed: int | None = None, size: tuple[int, int] = (24, 20)) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(next(fresh) if seed is None else seed)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(file)
        return file

    return write


@pytest.fixture(scope="session")
def write_classes(write_picture: Callable[..., Path]) -> Callable[[Path, Mapping[str, int]], Path]:
    """Writes class folders of so many pictures each, all of them different; gives the folder."""

    def write(folder: Path, counts: Mapping[str, int]) -> Path:
        for name, pictures in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(pictures):
                write_picture(folder / name / f"{number:03d}.png")
        return folder

    return write
