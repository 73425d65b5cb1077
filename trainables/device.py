"""Where a trial computes."""

import torch


def device_for(gpus: float) -> str:
    """The device that a trial's resources ask for.

    Ray hides from a process the GPUs that it was not given, but not where it was given none: so the answer
    is what was asked for, never what is there.

    Args:
        gpus: ``resources.gpus_per_trial``.

    Raises:
        RuntimeError: a GPU is asked for, and there is none: the trial would run for days on a processor.
    """
    if not gpus:
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError(f"No CUDA GPUs are available: {gpus:g} asked for by resources.gpus_per_trial")
    return "cuda"
