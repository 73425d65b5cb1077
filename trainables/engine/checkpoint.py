"""What a trial needs to go on where it stopped, in one file that is never half-written."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors.torch import load, save
from torch import Tensor

from trainables.engine.points import Point
from trainables.engine.training import Training
from trainables.errors import ProblemError

FILE = "checkpoint.safetensors"

_VERSION = 2  # of what the tensors mean: since 2 a prompt head's weights hold the scale of the logits


@dataclass(frozen=True)
class Checkpoint:
    """One member's adapter, scores, head, optimiser moments and random state, after an epoch.

    Attributes:
        tensors: by name.
        epoch: epochs done.
        history: metrics of every epoch so far, in order.
        points: what is saved of the points that the member has left so far, in order.
    """

    tensors: dict[str, Tensor]
    epoch: int
    history: list[dict[str, Any]]
    points: list[dict[str, Any]] = field(default_factory=list)


def capture(training: Training, member: int, history: list[dict[str, Any]]) -> Checkpoint:
    """The state of one pack member, such that it can go on alone or in another pack."""
    named = chain(training.learned(member), training.moved(member))
    tensors = {name: tensor.detach().clone() for name, tensor in named}
    tensors["generator"] = training.generators[member].get_state()
    points = [point.saved for point in training.points[member]]
    return Checkpoint(tensors, training.epoch, history, points)


def capture_points(training: Training, member: int) -> Iterator[tuple[str, Checkpoint]]:
    """The points that a member has left and that have not been captured yet, each with its folder's name."""
    for place, point in enumerate(training.points[member]):
        if point.tensors:
            training.points[member][place] = replace(point, tensors={})
            yield point_folder(point.name), Checkpoint(point.tensors, training.epoch, [])


def point_folder(name: str) -> str:
    """Where a point is kept, below the folder of its trial."""
    return f"points/{name}"


def restore(training: Training, member: int, checkpoint: Checkpoint) -> None:
    """Puts a captured state into a pack member. Ranks may be padded otherwise than they were.

    Raises:
        ProblemError: it was captured from another kind of training.
    """
    _put(chain(training.learned(member), training.moved(member)), checkpoint)
    if "generator" not in checkpoint.tensors:
        raise ProblemError("the checkpoint does not fit the trial: it has no random state to go on from")
    training.generators[member].set_state(checkpoint.tensors["generator"])
    training.epoch = checkpoint.epoch
    training.points[member] = [Point.of(saved) for saved in checkpoint.points]


def restore_model(training: Training, member: int, checkpoint: Checkpoint) -> None:
    """Puts what a captured state has learned into a pack member, and nothing that a training goes on from.

    Raises:
        ProblemError: it was captured from another kind of training.
    """
    _put(training.learned(member), checkpoint)


@torch.no_grad()
def _put(named: Iterable[tuple[str, Tensor]], checkpoint: Checkpoint) -> None:
    for name, tensor in named:
        saved = checkpoint.tensors.get(name)
        if saved is None or saved.dim() != tensor.dim():
            raise ProblemError(f"the checkpoint does not fit the trial: it has no such tensor as {name}")
        overlap = tuple(slice(0, min(sizes)) for sizes in zip(tensor.shape, saved.shape, strict=True))
        tensor.zero_()
        tensor[overlap] = saved[overlap].to(tensor.device)


def write(checkpoint: Checkpoint, folder: str | Path) -> None:
    """Saves into the folder, which is made if it is not there.

    Args:
        checkpoint: as captured.
        folder: a local path, or a URL of pyarrow's file systems, such as ``s3://bucket/folder``.

    Raises:
        OSError: it cannot be written; the folder keeps the last good checkpoint and nothing of this one.
    """
    state = {
        "version": _VERSION,
        "epoch": checkpoint.epoch,
        "history": checkpoint.history,
        "points": checkpoint.points,
    }
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    data = save(tensors, {"state": json.dumps(state)})
    files, path = _located(folder)
    # Two writers, one of which was thought dead, never share a temporary file.
    temporary = f"{path}.{uuid4().hex}.partial"
    if files is None:
        _replace(Path(path), Path(temporary), data)
    else:
        _upload(files, path, temporary, data)


def read(folder: str | Path) -> Checkpoint | None:
    """The folder's checkpoint; None where there is none yet.

    Args:
        folder: as for `write`.

    Raises:
        ProblemError: the file is damaged, no checkpoint, or of another version. Nothing in it was run.
        OSError: it cannot be read.
    """
    files, path = _located(folder)
    try:
        data = Path(path).read_bytes() if files is None else _download(files, path)
    except FileNotFoundError:
        return None
    try:
        found, version = _parsed(data)
    except MemoryError:
        raise
    except Exception as error:  # A hostile file can break a parser in any way.
        raise ProblemError(
            f"{path}: not a checkpoint, or a damaged one ({type(error).__name__}: {error}); "
            "remove it, and the trial starts anew"
        ) from error
    if version != _VERSION:
        raise ProblemError(
            f"{path}: its format version is {version}, this is version {_VERSION}; go on with the version of "
            "the project that wrote it, or remove it, and the trial starts anew"
        )
    return found


def _parsed(data: bytes) -> tuple[Checkpoint, int]:
    """The checkpoint in a file's content and its version: a header's length, the header in JSON, tensors."""
    tensors = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    state = json.loads(header["__metadata__"]["state"])
    epoch, history = state["epoch"], state["history"]
    if not (isinstance(epoch, int) and isinstance(history, list) and tensors):
        raise ValueError("its epoch, history or tensors are missing")
    return Checkpoint(tensors, epoch, history, state.get("points", [])), state.get("version", 1)


def _located(folder: str | Path) -> tuple[Any, str]:
    """The file system, None for the local one (a path or a ``file://`` URL), and the file's path in it."""
    if "://" not in str(folder):
        return None, str(Path(folder) / FILE)
    # A machine that trains on its own disk needs no pyarrow.
    from pyarrow.fs import FileSystem, LocalFileSystem

    files, path = FileSystem.from_uri(str(folder))
    return None if isinstance(files, LocalFileSystem) else files, f"{path.rstrip('/')}/{FILE}"


def _replace(path: Path, temporary: Path, data: bytes) -> None:
    """Writes to the temporary name first, so that the last good file outlives a failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            # Else a power cut can leave the new name with none of its content.
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _upload(files: Any, path: str, temporary: str, data: bytes) -> None:
    """As `_replace`, on a file system of pyarrow."""
    files.create_dir(path.rpartition("/")[0])
    try:
        with files.open_output_stream(temporary) as stream:
            stream.write(data)
        files.move(temporary, path)
    except BaseException:
        with suppress(OSError):
            files.delete_file(temporary)
        raise


def _download(files: Any, path: str) -> bytes:
    with files.open_input_file(path) as stream:
        content: bytes = stream.read()
    return content
