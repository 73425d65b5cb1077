"""Stand-ins for transformer layers: they cut a library's forward pass into before, inside and after."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What the library calls a layer with beside the tokens: masks, position embeddings."""


Loop = Callable[[Tensor, list[Arguments]], Tensor]
"""From what the first layer is given, (N, L, D), and what each is called with, to what the last one gives."""


class Looping(nn.Module):
    """Stands in the place of every layer, and runs a loop over all of them in the place of the last one.

    Args:
        depth: how many layers there are.
        loop: is run once it is known what every layer is called with.
    """

    def __init__(self, depth: int, loop: Loop) -> None:
        super().__init__()
        self._depth = depth
        self._loop = loop
        self._arguments: list[Arguments] = []

    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What it is given; from the last layer on, what the loop gives."""
        self._arguments.append((args, kwargs))
        return self._loop(tokens, self._arguments) if len(self._arguments) == self._depth else tokens


@contextmanager
def standing_in(layers: Any, by: nn.Module) -> Iterator[None]:
    """Puts a module in the place of each layer of a list or sequence, for a while."""
    originals = list(layers)
    for place in range(len(originals)):
        layers[place] = by
    try:
        yield
    finally:
        for place, layer in enumerate(originals):
            layers[place] = layer
