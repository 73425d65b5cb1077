"""What an error says of memory."""

import torch


def out_of_memory(error: Exception) -> bool:
    """Whether a GPU or the machine has no memory left; torch has an error class for the former alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
