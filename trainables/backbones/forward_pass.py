"""The forward pass of an image tower: the library's own, with our loop in the place of its layers.

The members of a pack lie one after the other along the batch axis. Each enters at the first layer that is
its own: what comes before is the pre-trained model's, the same for all, and need not be run for each. So the
shared prefix of a pack is where the loop starts, and where rows join it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainables.backbones.backbone import Backbone
from trainables.backbones.stand_ins import Arguments

Call = Callable[..., Any]
"""Calls a layer, its first argument, with what follows."""


def plainly(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The layer's answer."""
    return layer(*args, **kwargs)


class Entry(NamedTuple):
    """Rows of a batch that skip the first layers.

    Attributes:
        layer: the first one that they pass; 0 for all of the model, the tower's depth for none.
        inputs: what that layer is given: tokens (N, L, D). Of layer 0, pixels (N, 3, H, W) from 0 to 255; of
            the depth, features (N, D).
    """

    layer: int
    inputs: Tensor


def run(
    backbone: Backbone, entries: Sequence[Entry], stop: int | None = None, call: Call = plainly
) -> Tensor:
    """What layer ``stop`` is given of all rows, as `Entry.inputs` has it; by default, the features (N, D).

    Args:
        backbone: pre-trained, or with blocks that know which rows have entered before them.
        entries: in ascending order of their layers, none after ``stop``. Their rows stay in this order.
        stop: the tower's depth by default.
        call: how each layer is called.
    """
    layers = backbone.image_layers()
    stop = len(layers) if stop is None else stop
    arriving = {entry.layer: entry.inputs for entry in entries}
    last = [arriving.pop(stop)] if stop in arriving else []
    if not arriving:
        return last[0]

    def loop(tokens: Tensor, arguments: list[Arguments]) -> Tensor:
        if 0 in arriving:
            arriving[0] = tokens
        reached = run_layers(layers[:stop], arguments, arriving, call)
        if stop < len(layers):
            raise _Stopped(reached)
        return reached

    try:
        # The library's pass has to start somewhere: what it makes of a blank picture is thrown away.
        reached = backbone.around(arriving.get(0, backbone.blank()), loop)
    except _Stopped as stopped:
        (reached,) = stopped.args
    return torch.cat([reached, *last]) if last else reached


class _Stopped(Exception):  # noqa: N818 - it is no error
    """The pass has come to the layer before which it is to stop, with these tokens."""


def run_layers(
    layers: Sequence[nn.Module],
    arguments: Sequence[Arguments],
    arriving: Mapping[int, Tensor],
    call: Call = plainly,
) -> Tensor:
    """Tokens (N, L, D) after all layers, of rows that arrive at one layer or another, the earliest first.

    Args:
        layers: in order.
        arguments: what each is called with beside the tokens.
        arriving: tokens, by the layer that they are given to first.
        call: how each layer is called.
    """
    first = min(arriving)
    tokens = arriving[first]
    for place in range(first, len(layers)):
        if place > first and place in arriving:
            tokens = torch.cat([tokens, arriving[place]])
        args, kwargs = arguments[place]
        tokens = call(layers[place], tokens, *args, **kwargs)
    return tokens
