"""Cosine similarity of many features to many others, in bounded memory."""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

# Similarities that exist at once: 64 MiB in single precision.
_ENTRIES = 2**24


def similarities(queries: Tensor, keys: Tensor) -> Iterator[Tensor]:
    """Cosine similarities (n, M) of queries (N, D) to keys (M, D), some queries after the other."""
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    for some in queries.split(max(1, _ENTRIES // len(keys))):
        yield some @ keys.T


def joined(parts: Iterable[Tensor], values: int) -> Iterator[Tensor]:
    """Features (K, n, D) that come in parts, as few at a time as have so many values, but for the last."""
    held: list[Tensor] = []
    for part in parts:
        held.append(part)
        if sum(map(Tensor.numel, held)) >= values:
            yield torch.cat(held, dim=1)
            held = []
    if held:
        yield torch.cat(held, dim=1)
