"""What the frozen first layers make of pictures: run once for all members of a pack, and remembered."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.backbones import Backbone
from trainables.backbones.forward_pass import Entry, run
from trainables.data import ImageSet
from trainables.data.loader import in_order
from trainables.engine.batch import Batch

_GIB = 2**30
# Picture elements in one forward pass without gradient. More does not fit the caches of a processor: a pack
# of tiny-clip at 32 px is twice as slow on 3,000 pictures at a time as on 400.
_AT_ONCE = {"cpu": 8 * 224 * 224, "cuda": 512 * 224 * 224}


def pictures_at_once(backbone: Backbone) -> int:
    """How many pictures to put through a model at a time, where no gradient is wanted."""
    return max(1, _AT_ONCE[backbone.mean.device.type] // backbone.preprocessing.size**2)


class Prefix:
    """The pre-trained model's first layers, as far as no member has changed them.

    Args:
        backbone: the pre-trained model.
        gib: memory for what is remembered of whole image sets. What does not fit is not remembered.
        workers: processes that read pictures ahead, where these are not in memory.
    """

    def __init__(self, backbone: Backbone, gib: float, workers: int = 0) -> None:
        self._backbone = backbone
        self._workers = workers
        self._limit = gib * _GIB
        self.forget()

    def forget(self) -> None:
        """Gives the memory back."""
        self._known: dict[tuple[int, torch.dtype | None], _Known] = {}

    def before(self, batch: Batch, layer: int, members: Sequence[int]) -> Tensor:
        """What a layer is given of the pictures of P members: (P * B, ...), as `Entry.inputs` has it."""
        if layer == 0:
            return batch.of(batch.pixels, members)
        known = self._remembered(batch.images, layer) if not batch.changed else None
        if known is not None:
            return known[batch.of(batch.rows.flatten(), members)]
        if len(batch.rows) > 1:
            return self._run(Entry(0, batch.of(batch.pixels, members)), layer)
        # Groups come in the order of their layers: each goes on from the one before.
        batch.reached = Entry(layer, self._run(batch.reached or Entry(0, batch.pixels), layer))
        return batch.of(batch.reached.inputs, members)

    def _remembered(self, images: ImageSet, layer: int) -> Tensor | None:
        """What a layer is given of all pictures of a set; None where that is too much to remember."""
        device = self._backbone.mean.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        key = id(images.pixels), precision
        known = self._known.setdefault(key, _Known(images))
        if layer not in known.inputs and layer not in known.too_much:
            self._remember(known, layer)
        return known.inputs.get(layer)

    def _remember(self, known: "_Known", layer: int) -> None:
        nearest = max((other for other in known.inputs if other < layer), default=0)
        images, size = known.images, pictures_at_once(self._backbone)
        first = known.inputs[nearest][:1] if nearest else next(in_order(images, 1, 0))
        room = self._limit - sum(other.bytes for other in self._known.values())
        if self._run(Entry(nearest, first), layer).nbytes * len(images) > room:
            known.too_much.add(layer)
            return
        parts = known.inputs[nearest].split(size) if nearest else in_order(images, size, self._workers)
        known.inputs[layer] = torch.cat([self._run(Entry(nearest, part), layer) for part in parts])

    def _run(self, entry: Entry, layer: int) -> Tensor:
        # What is remembered while measuring may be trained on later.
        with torch.inference_mode(False), torch.no_grad():
            return run(self._backbone, [entry], layer)


class _Known:
    """What is remembered of a set of pictures.

    Attributes:
        images: kept, so that no other set takes their place in memory, by which they are known.
        inputs: what layers are given of all of them, by layer.
        too_much: layers for which that is too large.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.inputs: dict[int, Tensor] = {}
        self.too_much: set[int] = set()

    @property
    def bytes(self) -> int:
        return sum(inputs.nbytes for inputs in self.inputs.values())
