"""Stand-ins for transformer layers: they cut a library's forward pass into before, inside and after."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What the library calls a layer with beside the tokens: masks, position embeddings."""


class Reached(Exception):  # noqa: N818 - it is no error
    """The pass has come to the last layer; what would follow is not wanted."""


class Recorder(nn.Module):
    """Stands in the place of every layer; the pass ends at the last one.

    Args:
        depth: how many layers there are.

    Attributes:
        tokens: what the first layer is given.
        arguments: of each layer.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.arguments: list[Arguments] = []
        self.tokens: Tensor

    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Hands on what it is given.

        Raises:
            Reached: by the last layer.
        """
        self.tokens = tokens
        self.arguments.append((args, kwargs))
        if len(self.arguments) == self.depth:
            raise Reached
        return tokens


class Given(nn.Module):
    """Stands in the place of every layer, and gives what the last one gave."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, *_: Any, **__: Any) -> Tensor:
        """Whatever it is given."""
        return self.tokens


@contextmanager
def standing_in(layers: Any, by: nn.Module) -> Iterator[None]:
    """Puts a module in the place of each layer of a list or sequence, for a while."""
    own = list(layers)
    for place in range(len(own)):
        layers[place] = by
    try:
        yield
    finally:
        for place, layer in enumerate(own):
            layers[place] = layer
