"""Faults of the machine, told from those of a trial by the error that they raise."""

# What CUDA and ROCm say when a process can use its GPU no more, not even for another trial.
_DEVICE = (
    "CUDA error",
    "HIP error",
    "CUDA driver",
    "CUDA-capable",
    "CUDA GPUs are available",
    "NVIDIA driver",
    "NVML",
    "STATUS_NOT_INITIALIZED",
)
# The one of them that a trial brings about by itself.
_ASSERT = "device-side assert"


def device_fault(error: BaseException) -> bool:
    """Whether this process can use its GPU no more."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _DEVICE)


def machine_fault(error: BaseException) -> bool:
    """Whether the machine is to blame, and another trial would fare no better: storage, network, GPU.

    An `OSError` is: a disk that is full, read-only, broken or gone, a store that cannot be reached or refuses
    its credentials (pyarrow's errors have no number). It is not where a trial's time is up, or where there
    is a file in the place of its folder.
    """
    if isinstance(error, OSError):
        file_in_the_way = isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError)
        return not (file_in_the_way or (isinstance(error, TimeoutError) and error.errno is None))
    return device_fault(error) and _ASSERT not in str(error)
