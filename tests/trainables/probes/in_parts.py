"""What comes in parts, whole."""

from collections.abc import Iterable

import torch
from torch import Tensor


def whole(parts: Iterable[Tensor]) -> Tensor:
    """(K, N, ...) of parts (K, n, ...)."""
    return torch.cat(list(parts), dim=1)
