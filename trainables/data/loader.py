"""Pictures on their way to the device: read ahead by processes of their own, by torch's DataLoader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from trainables.data.images import ImageSet
from trainables.errors import ProblemError

Key = TypeVar("Key", contravariant=True)
Item = TypeVar("Item", covariant=True)


class Readable(Protocol[Key, Item]):
    """What is read batch by batch; it may be sent to another process."""

    def __getitem__(self, batch: Key, /) -> Item:
        """What a batch asks for."""


@dataclass(frozen=True)
class _Told(Dataset[Any]):
    """A readable whose errors are returned: raised in another process, they would come with its traceback."""

    source: Readable[Any, Any]

    def __getitem__(self, batch: Any) -> Any:
        try:
            return self.source[batch]
        except ProblemError as error:
            return error


def read_ahead(
    source: Readable[Key, Item], batches: Sequence[Key], workers: int, pinned: bool = False
) -> Iterator[Item]:
    """What the batches ask for, in order.

    Args:
        source: is read; by each process a whole batch at a time.
        batches: keys of the source.
        workers: processes that read ahead; with 0 this one reads what is asked for.
        pinned: whether tensors lie in memory from which a GPU fetches them beside its work.

    Raises:
        ProblemError: the source's own.
    """
    loader = DataLoader(
        _Told(source),
        batch_size=None,
        sampler=batches,
        # To start a process takes longer than to read a batch or two.
        num_workers=min(workers, -(-len(batches) // 2)),
        pin_memory=pinned,
        # Its own would take a number from everyone's.
        generator=Generator(),
        # As a new interpreter each would import torch again.
        multiprocessing_context="fork" if workers and batches else None,
    )
    for item in loader:
        if isinstance(item, ProblemError):
            raise item
        yield item


class Stream:
    """Batches of pixels on a device, the next of which are read while one is computed with.

    Nothing is read before the first batch is asked for, and no more than a few after the last one that was.

    Args:
        source: pixels by what a batch asks for.
        batches: what they ask for: rows (n,) on the CPU, or whatever the source reads by.
        workers: as for `read_ahead`.
        device: where pixels are wanted.
    """

    def __init__(
        self, source: Readable[Any, Tensor], batches: Sequence[Any], workers: int, device: torch.device
    ) -> None:
        self._source = source
        self._device = device
        self._batches = batches
        self._workers = workers
        self._ahead: Iterator[Tensor] = iter(())
        self._next: int | None = None

    def read(self, number: int) -> Tensor:
        """A batch's pixels, uint8, on the device."""
        if number != self._next:
            pinned = self._device.type == "cuda"
            self._ahead = read_ahead(self._source, self._batches[number:], self._workers, pinned)
        self._next = number + 1
        return next(self._ahead).to(self._device, non_blocking=True)


def in_order(images: ImageSet, size: int, workers: int) -> Iterator[Tensor]:
    """A set's pixels on its device, ``size`` pictures at a time."""
    if isinstance(images.pixels, Tensor):
        return images.batches(size)
    batches = torch.arange(len(images)).split(size) if len(images) else ()
    stream = Stream(images.pixels, batches, workers, images.labels.device)
    return (stream.read(number) for number in range(len(batches)))
