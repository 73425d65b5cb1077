"""From a source section of the space to a task."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

import torch

from trainables.data.digits import digits
from trainables.data.folder import open_folder
from trainables.data.glyphs import glyph_colors, glyphs
from trainables.data.huggingface import open_huggingface
from trainables.data.images import ImageSet, Task, no_images
from trainables.data.names import USUAL_TEMPLATES, class_names, sentences
from trainables.data.pictures import AsWritten, Listed, warn_of_damaged, warn_of_odd
from trainables.data.preprocessing import Preprocessing
from trainables.data.reading import read_pictures
from trainables.data.shifts import shifted
from trainables.data.splits import SPLITS, limit_of, limited, parts, refuse_empty, rows_of
from trainables.data.torchvision_sets import open_torchvision
from trainables.data.webdataset import open_webdataset
from trainables.errors import ProblemError, warn
from trainables.sections import DataSet
from trainables.written import Spelling

SHIPPED: dict[str, Callable[[int], Task]] = {
    "digits": digits,
    "glyphs": glyphs,
    "glyph_colors": glyph_colors,
}
"""Data that come with the project, by the side of their images in px."""


class OpenedSet(Protocol):
    """Pictures on disk, looked at but not read."""

    @property
    def where(self) -> str:
        """What it is called in messages."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Its own class names, one a label."""

    @property
    def split_names(self) -> Collection[str]:
        """The splits that it comes with, or WHOLE."""

    def listed(self, split: str) -> Listed:
        """The pictures of one of them."""


OPENED: dict[str, Callable[[DataSet], OpenedSet]] = {
    "folder": open_folder,
    "torchvision": open_torchvision,
    "huggingface": open_huggingface,
    "webdataset": open_webdataset,
}
"""Data that lie on disk."""

_SHARES_INSTEAD = "give split, the shares by which a set with one split is cut"
_WHOLE_INSTEAD = {
    "folder": "give the path of one folder of class folders, which is split by shares",
    "torchvision": "use another data set",
    "huggingface": _SHARES_INSTEAD,
    "webdataset": _SHARES_INSTEAD,
}

SOURCES = (*SHIPPED, *OPENED)


def load_task(source: DataSet, preprocessing: Preprocessing, splits: Collection[str] = SPLITS) -> Task:
    """Load a task, limited and shifted as its source says, as a model wants to see it.

    Args:
        source: a resolved source section of the space.
        splits: those that are wanted; the others are empty. A set that comes without splits, and for which
            neither shares nor a shift are given, is all ``test`` if that alone is wanted.

    Raises:
        MissingError: the data are not on this machine.
        ProblemError: the data do not fit what the source says, or a picture cannot be read. The message
            begins with the setting's name.
    """
    load = _shipped if source.source in SHIPPED else _opened
    with Spelling.of(source.path, source.classes).shown():
        task = load(source, preprocessing, splits)

    def finished(images: ImageSet) -> ImageSet:
        return replace(shifted(images, source.shift, source.severity), metric=source.metric)

    return replace(task, train=finished(task.train), val=finished(task.val), test=finished(task.test))


def _shipped(source: DataSet, preprocessing: Preprocessing, splits: Collection[str]) -> Task:
    whole = SHIPPED[source.source](preprocessing.size)

    def chosen(name: str) -> ImageSet:
        if name not in splits:
            return no_images(preprocessing.size)
        images: ImageSet = getattr(whole, name)
        rows = limited(images.labels.numpy(), limit_of(source, name), source.seed)
        return images if len(rows) == len(images) else images.chosen(torch.from_numpy(rows))

    names, templates = class_names(source, whole.classes), sentences(source, whole.templates)
    return Task(names, templates, *map(chosen, SPLITS), ids=whole.classes)


def _opened(source: DataSet, preprocessing: Preprocessing, splits: Collection[str]) -> Task:
    found = OPENED[source.source](source)
    # A shifted set may be that of the task, whose training pictures must not be tested on.
    whole_test = set(splits) == {"test"} and source.shift is None
    takes = parts(found.split_names, source.split, whole_test)
    if missing := [name for name in splits if name not in takes]:
        raise ProblemError(
            f"path: {found.where} has only the splits {', '.join(found.split_names)}, and {missing[0]} is "
            f"needed; add it, or {_WHOLE_INSTEAD[source.source]}"
        )
    names = class_names(source, found.classes)
    templates = sentences(source, getattr(found, "templates", USUAL_TEMPLATES))
    odd: list[tuple[str, str]] = []
    spelling = Spelling.of(source.path, source.classes)

    def read(name: str) -> ImageSet:
        if name not in splits:
            return no_images(preprocessing.size)
        listed = found.listed(takes[name].split)
        listed = Listed(AsWritten(listed.pictures, spelling), listed.labels)
        listed = listed.chosen(rows_of(takes[name], listed.labels, source.seed))
        refuse_empty(name, len(listed.labels))
        if name == "train":
            _warn_of_missing(found, set(listed.labels.tolist()))
        listed = listed.chosen(limited(listed.labels, limit_of(source, name), source.seed))
        return read_pictures(listed, preprocessing, source.damaged, odd)

    task = Task(names, templates, *map(read, SPLITS), ids=found.classes)
    warn_of_odd(odd, found.where)
    warn_of_damaged([damaged for name in SPLITS for damaged in getattr(task, name).damaged], found.where)
    return task


def _warn_of_missing(found: OpenedSet, learned: Collection[int]) -> None:
    missing = [name for label, name in enumerate(found.classes) if label not in learned]
    if missing:
        some = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        count = f"{len(missing)} of the {len(found.classes)} classes"
        warn(f"{found.where}: {count} have no picture to train on: {some}")
