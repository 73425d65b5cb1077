"""Data sets of Hugging Face: saved by `datasets`, parquet files, image folders, or fetched from the hub."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.pictures import Listed, upright
from trainables.data.splits import SPELLINGS, WHOLE, Rows
from trainables.errors import MissingError, ProblemError
from trainables.sections import DataSet
from trainables.written import expanded

_SPLITS = {name: split for split, names in SPELLINGS.items() for name in names}
_LOCK = Lock()


class Place(NamedTuple):
    """Where a data set is: a path on disk, or a name on the hub."""

    path: str | None
    dataset: str | None
    config: str | None
    download: bool

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return self.path or f"{self.dataset} of Hugging Face"


@dataclass(frozen=True)
class HuggingFacePictures:
    """Pictures of a data set's split, which is opened where they are asked for.

    Attributes:
        fingerprint: of the split, as `datasets` has it.
        rows: (N,), the pictures' rows in the split.
    """

    place: Place
    split: str
    column: str
    fingerprint: str
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, row: int) -> Image.Image:
        """Open one as RGB, turned upright as its EXIF orientation says."""
        item = int(self.rows[row])
        with _LOCK:
            table = _encoded(self.place, self.split, self.column)
        try:
            found = table[item][self.column]
            file = found["path"] if found["bytes"] is None else BytesIO(found["bytes"])
            return upright(file, found["path"] or f"picture {item}")
        # PIL's decoders raise what they like at a damaged file.
        except Exception as error:
            raise ProblemError(
                f"path: picture {item} of {self.place.where} cannot be read: {error}; replace or remove it"
            ) from error

    def chosen(self, rows: NDArray[np.int64]) -> "HuggingFacePictures":
        """The pictures of these rows."""
        return replace(self, rows=self.rows[rows])


@dataclass(frozen=True)
class HuggingFaceSet:
    """A data set of Hugging Face.

    Attributes:
        splits: the data set's name for each of its own splits; `WHOLE` if it has one only.
        column: the column of the pictures.
        labels: of each own split (N,), int64.
        classes: the names of its `ClassLabel`; else the different values of the column.
    """

    place: Place
    splits: Mapping[str, str]
    column: str
    labels: Mapping[str, Rows]
    classes: tuple[str, ...]

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return self.place.where

    @property
    def split_names(self) -> Collection[str]:
        """The set's own splits."""
        return self.splits.keys()

    def listed(self, split: str) -> Listed:
        """List the pictures of an own split."""
        name, labels = self.splits[split], self.labels[split]
        fingerprint = str(_opened(self.place)[name]._fingerprint)
        rows = np.arange(len(labels))
        return Listed(HuggingFacePictures(self.place, name, self.column, fingerprint, rows), labels)


def open_huggingface(source: DataSet) -> HuggingFaceSet:
    """Open a data set by its path or its name on the hub; no code of it is run.

    Raises:
        MissingError: it is not on this machine, or cannot be fetched.
        ProblemError: its columns or splits are not plain.
    """
    path = source.path and str(Path(expanded(source.path, "path")).absolute())
    place = Place(path, source.dataset, source.config, source.download)
    opened = _opened(place)
    splits = _own_splits(opened, place)
    first = next(iter(splits.values()))
    image = _column(opened[first], "Image", "image_column", source)
    label = _column(opened[first], "ClassLabel", "label_column", source)
    if _kind(opened[first].features[label]) in ("Image", "List", "Sequence"):
        raise ProblemError(f"label_column: {label} of {place.where} holds no labels; name another column")
    _encoded(place, first, image)
    values = _labelled({split: opened[name] for split, name in splits.items()}, label, place)
    lone = next(iter(values))
    if len(values) == 1 and (source.split is not None or set(opened) == {"train"}):
        # A set that has no splits is called train by the library.
        splits, values = {WHOLE[0]: splits[lone]}, {WHOLE[0]: values[lone]}
    elif source.split is not None and len(values) > 1:
        raise ProblemError(f"split: {place.where} comes with its own splits; remove split")
    names = getattr(opened[first].features[label], "names", None)
    labels, classes = (values, tuple(names)) if names else _numbered(values)
    return HuggingFaceSet(place, {split: splits[split] for split in values}, image, labels, classes)


@lru_cache
def _opened(place: Place) -> Mapping[str, Any]:
    """The data set's splits by its own names for them."""
    library = _library()
    library.disable_progress_bars()
    if place.path is not None and not Path(place.path).exists():
        raise MissingError(f"path: no such folder or file: {place.path}")
    try:
        with _offline(library, not place.download):
            opened = _loaded(library, place)
    except Exception as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        if "available configs" in reason:
            raise ProblemError(f"config: {place.where} has several: {reason}") from error
        if place.path is not None:
            raise ProblemError(f"path: {place.path} cannot be opened as a data set: {reason}") from error
        if not place.download:
            raise MissingError(
                f"dataset: {place.dataset} has not been fetched to this machine; download: true fetches it"
            ) from error
        raise MissingError(
            f"dataset: {place.dataset} cannot be fetched: {reason}; if the network cannot be reached, "
            "save it to disk elsewhere and give its path"
        ) from error
    return opened if isinstance(opened, Mapping) else {"": opened}


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingError(
            "source: huggingface needs the library datasets; "
            "pip install 'selective-lora-sweeper[huggingface]' brings it"
        ) from error
    return datasets


@contextmanager
def _offline(library: Any, offline: bool) -> Iterator[None]:
    """Keep the library from the network: it looks for what it has fetched before."""
    before = library.config.HF_HUB_OFFLINE
    library.config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        library.config.HF_HUB_OFFLINE = before


def _loaded(library: Any, place: Place) -> Any:
    if place.path is None:
        # With the prefix no folder of that name in the working directory is taken for it.
        return library.load_dataset(f"hf://datasets/{place.dataset}", place.config)
    path = Path(place.path)
    if path.is_file():
        return library.load_dataset("parquet", data_files=str(path))
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return library.load_from_disk(str(path))
    return library.load_dataset(str(path), place.config)


def _own_splits(opened: Mapping[str, Any], place: Place) -> dict[str, str]:
    """The data set's names of train, val and test; `WHOLE` for a single one that is called otherwise."""
    if len(opened) == 1 and (only := next(iter(opened))).lower() not in _SPLITS:
        return {WHOLE[0]: only}
    found: dict[str, str] = {}
    for name in opened:
        split = _SPLITS.get(name.lower())
        if split in found:
            raise ProblemError(f"path: {place.where} has {found[split]} and {name}, which both mean {split}")
        if split is not None:
            found[split] = name
    if not found:
        raise ProblemError(
            f"path: {place.where} has none of the splits train, validation and test, but {', '.join(opened)}"
        )
    return found


def _column(table: Any, kind: str, setting: str, source: DataSet) -> str:
    """The column of that name, or the only one of that type."""
    kinds = {name: _kind(feature) for name, feature in table.features.items()}
    columns = ", ".join(f"{name} ({shown})" for name, shown in kinds.items())
    named = getattr(source, setting)
    if named is not None:
        if named not in kinds:
            raise ProblemError(f"{setting}: there is no column {named}; there are {columns}")
        return str(named)
    fitting = [name for name, shown in kinds.items() if shown == kind]
    if len(fitting) != 1:
        count = "no column has" if not fitting else f"{len(fitting)} columns have"
        raise ProblemError(f"{setting}: {count} the type {kind}, so name one of {columns}")
    return str(fitting[0])


def _kind(feature: Any) -> str:
    """The type of a column, as the library calls it."""
    name = type(feature).__name__
    return str(feature.dtype) if name == "Value" else name


@lru_cache
def _encoded(place: Place, split: str, column: str) -> Any:
    """A split, with the pictures of the column as they lie in their files."""
    try:
        return _opened(place)[split].cast_column(column, _library().Image(decode=False))
    except Exception as error:
        raise ProblemError(
            f"image_column: {column} of {place.where} holds no pictures; name another column"
        ) from error


def _labelled(tables: Mapping[str, Any], column: str, place: Place) -> dict[str, NDArray[Any]]:
    """The column of each split that has labels: as others, ImageNet's test split on the hub has -1 only.

    Raises:
        ProblemError: no split has labels, or only some pictures of one, or splits differ in their classes.
    """
    kinds = [table.features.get(column) for table in tables.values()]
    if any(kind != kinds[0] for kind in kinds):
        raise ProblemError(f"label_column: the splits of {place.where} have other classes under {column}")
    found = {split: np.asarray(table.with_format("numpy")[column][:]) for split, table in tables.items()}
    said = f"label_column: {column} of {place.where}"
    if any(values.dtype.kind not in "iuU" for values in found.values()):
        raise ProblemError(f"{said} holds neither names nor whole numbers throughout; name another column")
    missing = {split: values < 0 for split, values in found.items() if values.dtype.kind == "i"}
    if any(rows.any() and not rows.all() for rows in missing.values()):
        raise ProblemError(f"{said} has negative numbers, so labels are missing")
    if labelled := {
        split: v for split, v in found.items() if split not in missing or not missing[split].any()
    }:
        return labelled
    raise ProblemError(f"{said} holds no labels, but -1 throughout")


def _numbered(values: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Labels of a column of names or whole numbers: its different values in order are the classes."""
    different = np.unique(np.concatenate(list(values.values())))
    labels = {split: np.searchsorted(different, found).astype(np.int64) for split, found in values.items()}
    return labels, tuple(map(str, different))
