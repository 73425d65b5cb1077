"""What tests need that look at the memory that a process frees."""

import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

TENSOR = 2**26 // os.sysconf("SC_PAGE_SIZE")

only_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps freed memory"
)


def use_memory() -> None:
    """As many pages as TENSOR says."""
    torch.ones(2**24)


def pages() -> int:
    """Pages of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a process of its own gives: it matters what became of the memory before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
