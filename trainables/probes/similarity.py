"""Cosine similarity of many features to many others, in bounded memory."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

# Similarities that exist at once: 64 MiB in single precision.
_ENTRIES = 2**24


def similarities(queries: Tensor, keys: Tensor) -> Iterator[Tensor]:
    """Cosine similarities (n, M) of queries (N, D) to keys (M, D), some queries after the other."""
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    for some in queries.split(max(1, _ENTRIES // len(keys))):
        yield some @ keys.T
