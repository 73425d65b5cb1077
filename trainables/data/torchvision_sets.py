"""The classification data sets of torchvision."""

import difflib
import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets

from trainables.data.pictures import DatasetPictures, Listed
from trainables.data.splits import WHOLE, Rows
from trainables.errors import MissingError, ProblemError
from trainables.sections import DataSet
from trainables.written import expanded

_SPLIT_NAMES = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}
_LABELS = ("targets", "labels", "_labels", "y")  # where torchvision's classes keep their labels
_NAMES = ("classes", "categories")


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set of torchvision.

    Attributes:
        opened: the data set's own splits; `WHOLE` if it has none.
        labels: of each own split (N,), int64.
        classes: the data set's class names; numbers where it has none.
        where: the data set and its folder, for messages.
    """

    opened: Mapping[str, Any]
    labels: Mapping[str, Rows]
    classes: tuple[str, ...]
    where: str

    @property
    def split_names(self) -> Collection[str]:
        """The set's own splits."""
        return self.opened.keys()

    def listed(self, split: str) -> Listed:
        """List the pictures of an own split."""
        labels = self.labels[split]
        return Listed(DatasetPictures(self.opened[split], np.arange(len(labels))), labels)


def open_torchvision(source: DataSet) -> TorchvisionSet:
    """Open a data set by its class's name, with those of the splits train, val and test that it has.

    Raises:
        MissingError: its files are not in the folder, or cannot be fetched.
        ProblemError: there is no such data set, or it is no set of labelled pictures.
    """
    name = source.dataset
    assert name is not None and source.path is not None
    kind = _kind(name)
    root = Path(expanded(source.path, "path")).absolute()
    opened = {split: found for split, found in _opened(kind, root, source.download) if found is not None}
    if not opened:
        raise ProblemError(f"dataset: {name} has none of the splits train, val and test; use another")
    if source.split is not None and "" not in opened:
        raise ProblemError(f"split: {name} comes with its own splits; remove split")
    labels = {split: _labels(found, name) for split, found in opened.items()}
    count = 1 + max(int(each.max()) for each in labels.values())
    return TorchvisionSet(opened, labels, _classes(next(iter(opened.values())), count), f"{name} in {root}")


def _kind(name: str) -> Any:
    known = [known for known in datasets.__all__ if _is_usable(getattr(datasets, known))]
    if name in known:
        return getattr(datasets, name)
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f"did you mean '{by_lower[near[0]]}'?" if near else f"known: {', '.join(known)}"
    raise ProblemError(f"dataset: torchvision has no data set '{name}' that can be used here; {hint}")


def _is_usable(kind: Any) -> bool:
    """Whether a class can be opened by its root alone, but for a split, and is no reader of any folder."""
    if not inspect.isclass(kind):
        return False
    settings = inspect.signature(kind).parameters
    needed = {s.name for s in settings.values() if s.default is s.empty and s.kind is not s.VAR_KEYWORD}
    return needed == {"root"} and not {"download", "train", "split"}.isdisjoint(settings)


def _opened(kind: Any, root: Path, download: bool) -> Iterator[tuple[str, Any]]:
    settings = inspect.signature(kind).parameters
    options = {"download": download} if "download" in settings else {}
    if "train" in settings:
        yield "train", _open(kind, root, options | {"train": True})
        yield "test", _open(kind, root, options | {"train": False})
    elif "split" in settings:
        for split, names in _SPLIT_NAMES.items():
            tried = (_open(kind, root, options | {"split": name}) for name in names)
            yield split, next((found for found in tried if found is not None), None)
    else:
        yield WHOLE[0], _open(kind, root, options)


def _open(kind: Any, root: Path, options: dict[str, Any]) -> Any | None:
    """Open one split; None if the data set has no split of that name."""
    try:
        return kind(str(root), **options)
    # The classes raise what they like at files of another format.
    except Exception as error:
        if isinstance(error, ValueError) and "argument split" in str(error):
            return None
        reason = (
            (str(error) or type(error).__name__)
            .partition("\n")[0]
            .removesuffix(". You can use download=True to download it")
        )
        # RuntimeError or FileNotFoundError where files are missing, URLError without a network.
        kind_of_error = MissingError if isinstance(error, OSError | RuntimeError) else ProblemError
        raise kind_of_error(
            f"path: {kind.__name__} cannot be opened in {root}: {reason}; {_remedy(options)}"
        ) from error


def _remedy(options: Mapping[str, Any]) -> str:
    match options.get("download"):
        case None:
            return "torchvision cannot fetch its files, so put them there"
        case False:
            return "download: true fetches its files"
    return "if the network cannot be reached, put its files there"


def _labels(dataset: Any, name: str) -> Rows:
    """Give the labels (N,) without reading the pictures where the data set keeps them apart."""
    _check_item(dataset, name)
    kept = [getattr(dataset, place, None) for place in _LABELS]
    found = next((each for each in kept if each is not None and len(each) == len(dataset)), None)
    if found is None:
        items = getattr(dataset, "samples", None) or getattr(dataset, "_samples", None) or dataset
        found = [items[row][1] for row in range(len(dataset))]
    return np.asarray(found, dtype=np.int64)


def _check_item(dataset: Any, name: str) -> None:
    if len(dataset) == 0:
        raise ProblemError(f"path: {name} in {dataset.root} holds no picture")
    try:
        item = dataset[0]
    except Exception as error:
        raise ProblemError(f"path: {name} in {dataset.root} cannot be read: {error}") from error
    match item:
        case (Image.Image(), int() | np.integer()):
            return
    raise ProblemError(f"dataset: {name} is no set of pictures with one class each; use another")


def _classes(dataset: Any, count: int) -> tuple[str, ...]:
    names = next((getattr(dataset, place) for place in _NAMES if getattr(dataset, place, None)), range(count))
    # A class of torchvision's ImageNet has several names, the best known first.
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)
