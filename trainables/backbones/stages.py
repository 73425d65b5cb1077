"""A backbone's image tower in parts: from one transformer layer to another, and with rows that join later."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.backbones.backbone import Backbone


@dataclass(frozen=True)
class Entry:
    """Rows of a batch that skip the first layers.

    Attributes:
        layer: the first one that they pass; 0 for all of the model, the tower's depth for none.
        inputs: what that layer is given: tokens (N, L, D). Of layer 0, pixels (N, 3, H, W) from 0 to 255; of
            the depth, features (N, D).
    """

    layer: int
    inputs: Tensor


def run(backbone: Backbone, entry: Entry, stop: int) -> Tensor:
    """What layer ``stop`` is given (as `Entry.inputs` has it), of rows that enter at an earlier layer."""
    if entry.layer == stop:
        return entry.inputs
    layers = _layers(backbone)
    if stop == len(layers):
        return finish(backbone, [entry])
    reached: list[Tensor] = []
    with ExitStack() as stack:
        stack.enter_context(_replaced(layers, range(stop, len(layers)), _Tap(reached)))
        _enter(backbone, layers, entry, stack)
    return reached[0]


def finish(backbone: Backbone, entries: Sequence[Entry]) -> Tensor:
    """Features (N, D) of rows that enter at one layer or another, in the order of the entries.

    Args:
        backbone: pre-trained, or with blocks that know which rows have entered before them.
        entries: in ascending order of their layers.
    """
    layers = _layers(backbone)
    inside = [entry for entry in entries if entry.layer < len(layers)]
    features = [entry.inputs for entry in entries[len(inside) :]]
    if inside:
        with ExitStack() as stack:
            for entry in inside[1:]:
                handle = layers[entry.layer].register_forward_pre_hook(_join(entry.inputs))
                stack.callback(handle.remove)
            features.insert(0, _enter(backbone, layers, inside[0], stack))
    return torch.cat(features)


def _enter(backbone: Backbone, layers: Any, entry: Entry, stack: ExitStack) -> Tensor:
    """The model's output on rows that skip the layers before the entry's."""
    if entry.layer == 0:
        features: Tensor = backbone(entry.inputs)
        return features
    stack.enter_context(_replaced(layers, range(entry.layer), _Given(entry.inputs)))
    side = backbone.preprocessing.size
    # The model has to start somewhere: what it makes of this picture is thrown away.
    return backbone.encode(entry.inputs.new_zeros(1, 3, side, side, dtype=backbone.mean.dtype))


def _layers(backbone: Backbone) -> Any:
    """The image tower's transformer layers, a list or a sequence of modules."""
    return backbone.get_submodule(backbone.layers["image"])


class _Given(nn.Module):
    """Stands in the place of layers that are skipped."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, *_: Any, **__: Any) -> Tensor:
        """What the first layer that is not skipped is to be given."""
        return self.tokens


class _Tap(nn.Module):
    """Stands in the place of layers that come too late to matter."""

    def __init__(self, reached: list[Tensor]) -> None:
        super().__init__()
        self.reached = reached

    def forward(self, tokens: Tensor, *_: Any, **__: Any) -> Tensor:
        """Keeps and hands on what it is given."""
        self.reached.append(tokens)
        return tokens


@contextmanager
def _replaced(layers: Any, places: range, by: nn.Module) -> Iterator[None]:
    own = [layers[place] for place in places]
    for place in places:
        layers[place] = by
    try:
        yield
    finally:
        for place, layer in zip(places, own, strict=True):
            layers[place] = layer


def _join(tokens: Tensor) -> Any:
    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return torch.cat([inputs[0], tokens]), *inputs[1:]

    return hook
