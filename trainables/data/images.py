"""Labelled pictures, in memory or read when they are asked for, and a task made of three splits of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.utils.data import default_collate


class Pixels(Protocol):
    """uint8 pictures that are read when they are asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Pictures (n, 3, S, S), uint8, of rows (n,), int64, on the CPU."""

    def picture(self, row: int) -> Tensor:
        """One picture (3, H, W), uint8; also where they differ in size."""

    def made_ready(self) -> "Pixels":
        """The same pictures, made ready on this machine."""


@dataclass(frozen=True)
class ImageSet:
    """Images with labels.

    Attributes:
        pixels: (N, 3, H, W), uint8; indexed by rows it gives those pictures, whether a tensor or not. What is
            not in memory stays on the CPU.
        labels: (N,), int64, indices into the class names of the task.
        metric: how answers are counted, a name in `measures.METRICS`.
        answers: (A,), int64, rising: the only labels that are possible answers; None where all are.
        whole: the pictures before they were cut to the model's square; None where there is no more of them.
        damaged: what is said of each picture that is left out since it cannot be read.
    """

    NOT_CONTENT: ClassVar[tuple[str, ...]] = ("whole", "damaged")

    pixels: Tensor | Pixels
    labels: Tensor
    metric: str = "top1"
    answers: Tensor | None = None
    whole: Pixels | None = None
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "ImageSet":
        """The same images with their labels on a device, and those pixels that are in memory."""
        answers = None if self.answers is None else self.answers.to(device)
        pixels = self.pixels.to(device) if isinstance(self.pixels, Tensor) else self.pixels.made_ready()
        return replace(self, pixels=pixels, labels=self.labels.to(device), answers=answers)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Give the pixels in order, ``size`` pictures at a time; the last batch may be smaller."""
        if isinstance(self.pixels, Tensor):
            yield from self.pixels.split(size) if len(self) else ()
        else:
            for start in range(0, len(self), size):
                yield self.pixels[torch.arange(start, min(start + size, len(self)))]

    def chosen(self, rows: Tensor) -> "ImageSet":
        """Give the images of rows (n,), int64, read into memory."""
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows], whole=None)

    def placed(self, places: Sequence[int]) -> "ImageSet":
        """The same images as some classes of a larger task, whose other classes are no possible answers.

        Args:
            places: label in the larger task of each label here.
        """
        there = torch.tensor(places, device=self.labels.device)
        return replace(self, labels=there[self.labels], answers=there.sort().values)


def in_one(pictures: list[Tensor]) -> Tensor:
    """Pictures (3, S, S) as (n, 3, S, S); a process that reads ahead puts them where the other sees them."""
    batch: Tensor = default_collate(pictures)
    return batch


def picked(pixels: Pixels, rows: Tensor, size: int) -> Tensor:
    """Pictures (n, 3, S, S), uint8, of rows (n,), read one after the other; S is ``size``."""
    if not len(rows):
        return torch.empty(0, 3, size, size, dtype=torch.uint8)
    return in_one([pixels.picture(row) for row in rows.tolist()])


def no_images(size: int) -> ImageSet:
    """Give an empty set of images of ``size`` px a side."""
    return ImageSet(torch.zeros(0, 3, size, size, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class Task:
    """A classification task: its splits, its class names and how a sentence names a class.

    Attributes:
        classes: one name a label, as it is put into the prompts.
        templates: sentences with one ``{}`` for the class name; a class is the mean over them.
        train: the split to learn from; like the others, it is empty if it was not asked for.
        val: the split to choose by.
        test: the split to report on.
        ids: the data set's own name of each class, such as its folder; what `classes` are by default.
    """

    classes: tuple[str, ...]
    templates: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    test: ImageSet
    ids: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def sizes(self) -> dict[str, int]:
        """How many pictures each split has, without those that are empty."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        return {name: len(images) for name, images in splits.items() if len(images)}

    def to(self, device: str) -> "Task":
        """The same task with its images on a device."""
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device))
