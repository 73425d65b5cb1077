"""A value's content as one short text."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn


def fingerprint(value: object) -> str:
    """SHA-256 of a value's content, in hex: equal for equal models, data and settings, wherever they are.

    Tensors and arrays count by kind, shape and bytes, models by their weights, other objects by their
    attributes. Pictures that are read only when they are asked for count by their paths.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    match value:
        case None | bool() | int() | float() | str() | Path():
            yield repr(value).encode()
        case set() | frozenset():
            yield from _parts(sorted(value))
        case Tensor():
            yield from _parts(value.detach().cpu().contiguous().numpy())
        case np.ndarray():
            yield f"{value.dtype}{value.shape}".encode()
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        case nn.Module():
            yield from _parts(dict(value.state_dict()))
        case Mapping():
            for key in sorted(value):
                yield from _parts(key)
                yield from _parts(value[key])
        case Sequence():
            yield f"{len(value)}".encode()
            for item in value:
                yield from _parts(item)
        case _:
            yield type(value).__qualname__.encode()
            yield from _parts(vars(value))
