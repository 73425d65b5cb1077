"""Pictures on their way to the device: read ahead by processes of their own, by torch's DataLoader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

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


class Reader(Generic[Key, Item]):
    """Processes that read ahead; they stay from one call to the next.

    Args:
        source: is read; by each process a whole batch at a time.
        workers: how many processes; with 0 this one reads what is asked for.
        pinned: whether tensors lie in memory from which a GPU fetches them beside its work.
    """

    def __init__(self, source: Readable[Key, Item], workers: int, pinned: bool = False) -> None:
        self._source = source
        self._workers = workers
        self._pinned = pinned
        self._batches: list[Key] = []
        self._loader: DataLoader[Item] | None = None

    def read(self, batches: Sequence[Key]) -> Iterator[Item]:
        """What the batches ask for, in order. What an earlier call has left unread is not read.

        Raises:
            ProblemError: the source's own.
        """
        self._batches[:] = batches
        # To start a process takes longer than to read a batch or two.
        workers = min(self._workers, -(-len(batches) // 2))
        if self._loader is None or self._loader.num_workers < workers:
            self._loader = self._started(workers)
        for item in self._loader:
            if isinstance(item, ProblemError):
                raise item
            yield item

    def _started(self, workers: int) -> DataLoader[Item]:
        return DataLoader(
            _Told(self._source),
            batch_size=None,
            sampler=self._batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._pinned,
            # Its own would take a number from everyone's.
            generator=Generator(),
            # As a new interpreter each would import torch again.
            multiprocessing_context="fork" if workers else None,
        )


def read_ahead(source: Readable[Key, Item], batches: Sequence[Key], workers: int) -> Iterator[Item]:
    """What the batches ask for, in order, once: see `Reader`."""
    return Reader(source, workers).read(batches)


class Stream:
    """Batches of pixels on a device, the next of which are read while one is computed with.

    Nothing is read before the first batch is asked for, and no more than a few after the last one that was.

    Args:
        reader: gives pixels by what a batch asks for.
        batches: what they ask for: rows (n,) on the CPU, or whatever the reader's source is read by.
        device: where pixels are wanted.
    """

    def __init__(self, reader: Reader[Any, Tensor], batches: Sequence[Any], device: torch.device) -> None:
        self._reader = reader
        self._device = device
        self._batches = batches
        self._ahead: Iterator[Tensor] = iter(())
        self._next: int | None = None

    def read(self, number: int) -> Tensor:
        """A batch's pixels, uint8, on the device."""
        if number != self._next:
            self._ahead = self._reader.read(self._batches[number:])
        self._next = number + 1
        return next(self._ahead).to(self._device, non_blocking=True)


def in_order(images: ImageSet, size: int, workers: int) -> Iterator[Tensor]:
    """A set's pixels on its device, ``size`` pictures at a time."""
    if isinstance(images.pixels, Tensor):
        return images.batches(size)
    batches = torch.arange(len(images)).split(size) if len(images) else ()
    device = images.labels.device
    stream = Stream(Reader(images.pixels, workers, device.type == "cuda"), batches, device)
    return (stream.read(number) for number in range(len(batches)))
