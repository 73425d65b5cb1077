"""The memory of a process: what an error says of it, and what becomes of memory that is freed."""

import ctypes
import gc

import torch

# Names of mallopt(3) and their values in <malloc.h> of the GNU C library, which has had them for decades.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER, _NONE = -1, 0


def out_of_memory(error: Exception) -> bool:
    """Whether a GPU or the machine has no memory left; torch has a class for its own pool alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    refused = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in refused)


def keep_freed_memory() -> None:
    """From now on this process keeps the memory that a training step frees, for the next step.

    By itself the GNU C library gives tensors of 32 MiB and more, and what is free at the end, back to the
    system, which clears each page when it hands it out again: of a large step, nearly half of the time.
    With another C library nothing changes, nor does anything outside the main thread, nor, until the process
    ends, once memory has been refused: for such threads that library has pools that keep no large tensor.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_MAX, _NONE)
        library.mallopt(_TRIM_THRESHOLD, _NEVER)


def return_freed_memory() -> None:
    """Gives to the system all that is free now, also of what refers to itself."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
