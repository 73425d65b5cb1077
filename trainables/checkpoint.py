"""What a trial needs to go on where it stopped, in one file that is never half-written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from trainables.training import Training

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """One member's adapter, scores, head, optimiser moments and random state, after an epoch.

    Attributes:
        tensors: by name.
        epoch: epochs done.
        history: metrics of every epoch so far, in order.
    """

    tensors: dict[str, Tensor]
    epoch: int
    history: list[dict[str, Any]]


def capture(training: Training, member: int, history: list[dict[str, Any]]) -> Checkpoint:
    """The state of one pack member, such that it can go on alone or in another pack."""
    tensors = {name: tensor.detach().clone() for name, tensor in _tensors(training, member)}
    tensors["generator"] = training.generators[member].get_state()
    return Checkpoint(tensors, training.epoch, history)


@torch.no_grad()
def restore(training: Training, member: int, checkpoint: Checkpoint) -> None:
    """Puts a captured state into a pack member. Ranks may be padded otherwise than they were."""
    for name, tensor in _tensors(training, member):
        saved = checkpoint.tensors[name]
        overlap = tuple(slice(0, min(sizes)) for sizes in zip(tensor.shape, saved.shape, strict=True))
        tensor.zero_()
        tensor[overlap] = saved[overlap].to(tensor.device)
    training.generators[member].set_state(checkpoint.tensors["generator"])
    training.epoch = checkpoint.epoch


def _tensors(training: Training, member: int) -> Iterator[tuple[str, Tensor]]:
    """The member's part of every tensor that training changes."""
    named: list[tuple[str, Tensor]] = [
        (f"trained/{name}", p) for name, p in training.learner.trained().items()
    ]
    named += [(f"decided/{name}", t) for name, t in training.learner.method.decided().items()]
    for number, optimizer in enumerate((training.adapter_optimizer, *training.score_optimizers)):
        named += [(f"optimizer/{number}/{place}", t) for place, t in enumerate(optimizer.state())]
    packed = training.learner.method.packable
    for name, tensor in named:
        yield name, tensor[member : member + 1] if packed else tensor


def write(checkpoint: Checkpoint, folder: Path) -> None:
    """Saves into the folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"epoch": checkpoint.epoch, "history": checkpoint.history}
    _save(checkpoint.tensors, folder / FILE, {"state": json.dumps(state)})


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes to a temporary name first, so that the last good file outlives a failure."""
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(save({name: t.contiguous() for name, t in tensors.items()}, metadata))
    temporary.rename(path)


def read(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint; None where there is none yet."""
    if not (folder / FILE).exists():
        return None
    with safe_open(folder / FILE, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(tensors, state["epoch"], state["history"])
