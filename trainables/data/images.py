"""Labelled images in memory, and a task made of three splits of them."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Images with labels.

    Attributes:
        pixels: (N, 3, H, W), uint8.
        labels: (N,), int64, indices into the class names of the task.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "ImageSet":
        """The same images on a device."""
        return ImageSet(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Task:
    """A classification task: its splits, its class names and how a sentence names a class.

    Attributes:
        classes: one name a label, as it is put into the prompts.
        templates: sentences with one ``{}`` for the class name; a class is the mean over them.
    """

    classes: tuple[str, ...]
    templates: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    test: ImageSet

    def to(self, device: str) -> "Task":
        """The same task with its images on a device."""
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device))
