"""A value's content as one short text."""

import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from trainables.data.pictures import LazyPixels


def fingerprint(value: object) -> str:
    """SHA-256 of a value's content, in hex: equal for equal models, data and settings, wherever they are.

    Tensors and arrays count by kind, shape and bytes, models by their weights, other objects by their
    attributes but those that they name under ``NOT_CONTENT``. Pictures that are read only when they are
    asked for count by their files' paths, sizes and times of the last change.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, folder: Path | None = None) -> Iterator[bytes | memoryview]:
    """Its parts; with a folder, texts that name files below it, or anywhere, stand for these files."""
    match value:
        case str() | Path() if folder is not None:
            yield repr(value).encode()
            yield _state(folder / value)
        case None | bool() | int() | float() | str() | Path():
            yield repr(value).encode()
        case set() | frozenset():
            yield from _parts(sorted(value), folder)
        case LazyPixels():
            yield from _parts(vars(value), Path(getattr(value.pictures, "folder", "")))
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
                yield from _parts(value[key], folder)
        case Sequence():
            yield f"{len(value)}".encode()
            for item in value:
                yield from _parts(item, folder)
        case _:
            yield type(value).__qualname__.encode()
            left_out = getattr(value, "NOT_CONTENT", ())
            yield from _parts({k: part for k, part in vars(value).items() if k not in left_out}, folder)


def _state(file: Path) -> bytes:
    """Size and time of a file's last change; nothing where there is no such file."""
    with suppress(OSError, ValueError):
        found = file.stat()
        if stat.S_ISREG(found.st_mode):
            return f"{found.st_size} {found.st_mtime_ns}".encode()
    return b""
