"""Where a trial computes."""

import torch

from trainables.sections import Resources


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


def use_threads(cpus: float) -> None:
    """Computes with as many threads as Ray lets a trial with these ``resources.cpus_per_trial`` have."""
    torch.set_num_threads(max(1, int(cpus)))


def workers_of(resources: Resources) -> int:
    """How many processes read pictures ahead for a pack: those that are asked for, or a processor's each.

    On a processor one of them is left to the training itself.

    Args:
        resources: the resolved ``resources`` section of the space.
    """
    if resources.workers is not None:
        return resources.workers
    return max(0, int(resources.cpus_per_trial) - (0 if resources.gpus_per_trial else 1))
