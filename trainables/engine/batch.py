"""The pictures of one step, for a pack."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from trainables.backbones.forward_pass import Entry
from trainables.data import ImageSet
from trainables.engine.augment import Mix


class Batch:
    """Pictures of a set, for each of G members or, where G is 1, the same for all.

    Args:
        images: the set.
        rows: (G, B), places in it, on its device.
        read: gives the pixels (G * B, 3, H, W); None takes the set's own.
        mix: mixes pictures and labels; None leaves them as they are.
        changed: whether the pixels that are read are not the set's own.

    Attributes:
        reached: how far the frozen layers have been run on pictures that are the same for all.
    """

    def __init__(
        self,
        images: ImageSet,
        rows: Tensor,
        read: Callable[[], Tensor] | None = None,
        mix: Mix | None = None,
        changed: bool = False,
    ) -> None:
        self.images = images
        self.rows = rows
        self.changed = changed or mix is not None
        self.reached: Entry | None = None
        self._reads = read is not None
        self._read = read or (lambda: images.pixels[rows.flatten()])
        self._mix = mix

    @cached_property
    def _mixed(self) -> tuple[Tensor, Tensor]:
        assert self._mix is not None
        return self._mix(self._read().unflatten(0, self.rows.shape), self.images.labels[self.rows])

    @cached_property
    def pixels(self) -> Tensor:
        """(G * B, 3, H, W), from 0 to 255."""
        return self._mixed[0].flatten(0, 1) if self._mix else self._read()

    @property
    def fetched(self) -> bool:
        """Whether pixels were asked for that had to be read or made."""
        return "pixels" in self.__dict__ and (self._mix is not None or self._reads)

    @cached_property
    def labels(self) -> Tensor:
        """(G, B); where pictures are mixed, the shares of the classes (G, B, C)."""
        return self._mixed[1] if self._mix else self.images.labels[self.rows]

    def parts(self, count: int) -> "list[Batch]":
        """The pictures in so many parts, or fewer, each of about as many."""
        if count == 1:
            return [self]
        places = torch.arange(self.rows.shape[1]).tensor_split(min(count, self.rows.shape[1]))
        return [_Part(self, slice(int(own[0]), int(own[-1]) + 1)) for own in places]

    def of(self, pictures: Tensor, members: Sequence[int]) -> Tensor:
        """(P * B, ...): what P members have in something of all pictures, (G * B, ...)."""
        each = pictures.unflatten(0, self.rows.shape)
        if len(each) > 1:
            # Chosen one by one: a list of places would be sent to the device, and waited for.
            chosen = torch.stack([each[k] for k in members])
        else:
            chosen = each.expand(len(members), *each.shape[1:])
        flat: Tensor = chosen.flatten(0, 1)
        return flat


class _Part(Batch):
    """Some of a batch's pictures, as they are in it."""

    def __init__(self, whole: Batch, places: slice) -> None:
        super().__init__(
            whole.images,
            whole.rows[:, places],
            lambda: whole.pixels.unflatten(0, whole.rows.shape)[:, places].flatten(0, 1),
            changed=whole.changed,
        )
        self.labels = whole.labels[:, places]


class StandingBatch(Batch):
    """One batch after the other in the same memory, where a recorded step looks.

    Args:
        batch: the first one.
        fetched: whether a step looks at pixels that are read or made for each batch.
    """

    def __init__(self, batch: Batch, fetched: bool) -> None:
        super().__init__(batch.images, batch.rows.clone(), changed=batch.changed)
        self._pixels_too = fetched
        if fetched:
            self.pixels = batch.pixels.clone()
            self.labels = batch.labels.clone()

    def take(self, batch: Batch) -> None:
        """Puts another batch in the place of the one before."""
        self.rows.copy_(batch.rows)
        if self._pixels_too:
            self.pixels.copy_(batch.pixels)
            self.labels.copy_(batch.labels)
