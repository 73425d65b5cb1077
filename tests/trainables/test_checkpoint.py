import os
import pickle
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import Problem, Training, checkpoint
from trainables.measures import Metrics

MakeSpace = Callable[..., dict[str, Any]]


def run(training: Training, history: list[Metrics]) -> None:
    """Trains one epoch and adds its metrics to the history, but for the time it took."""
    (metrics,) = training.run_epoch()
    history.append({name: value for name, value in metrics.items() if name != "seconds"})


def assert_equal(a: checkpoint.Checkpoint, b: checkpoint.Checkpoint) -> None:
    assert a.tensors.keys() == b.tensors.keys()
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    assert (a.epoch, a.history) == (b.epoch, b.history)


@pytest.fixture
def saved(problem: Problem, make_space: MakeSpace) -> checkpoint.Checkpoint:
    training = Training(problem, [make_space("selective_lora")])
    history: list[Metrics] = []
    run(training, history)
    return checkpoint.capture(training, 0, history)


def test_what_is_written_is_read(saved: checkpoint.Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    assert checkpoint.read(folder) is None
    checkpoint.write(saved, folder)
    found = checkpoint.read(folder)
    assert found is not None
    assert_equal(found, saved)
    assert [path.name for path in folder.iterdir()] == [checkpoint.FILE]


def test_a_capture_is_not_changed_by_more_training(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("selective_lora")])
    before = checkpoint.capture(training, 0, [])
    copies = {name: tensor.clone() for name, tensor in before.tensors.items()}
    training.run_epoch()
    assert all(torch.equal(tensor, copies[name]) for name, tensor in before.tensors.items())


NAMES = (
    "selective_lora",
    "lora",
    "taps",
    "block_expansion",
    "full",
    "lp_ft",
    "top_k",
    "linear",
    "random_blocks",
)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epochs_before", [1, 2])
def test_an_interrupted_trial_ends_as_one_that_never_was(
    problem: Problem,
    make_space: MakeSpace,
    tmp_path: Path,
    name: str,
    epochs_before: int,
    optimizer: str,
) -> None:
    """Momentum, moments and the random state of crops, flips and prompts are part of what is saved."""
    pictures = {"crop": 0.5, "flip": True}
    space = make_space(name, epochs=3, lr=1e-3, weight_decay=0.1, seed=7, optimizer=optimizer, **pictures)
    through, history = Training(problem, [space]), []
    for _ in range(3):
        run(through, history)

    first, early = Training(problem, [space]), []
    for _ in range(epochs_before):
        run(first, early)
    checkpoint.write(checkpoint.capture(first, 0, early), tmp_path)
    saved = checkpoint.read(tmp_path)
    assert saved is not None
    second, late = Training(problem, [space]), saved.history
    checkpoint.restore(second, 0, saved)
    assert second.epoch == epochs_before
    for _ in range(3 - epochs_before):
        run(second, late)

    assert_equal(checkpoint.capture(second, 0, late), checkpoint.capture(through, 0, history))
    assert second.test() == through.test()


def test_a_member_leaves_a_pack_of_wider_ranks(problem: Problem, make_space: MakeSpace) -> None:
    """It goes on alone as it would have gone on in the pack, to the rounding of a batch."""
    spaces = [make_space("selective_lora", {"rank": rank}, seed=rank) for rank in (4, 1, 2)]
    pack = Training(problem, spaces)
    pack.run_epoch()
    left = checkpoint.capture(pack, 1, [])
    alone = Training(problem, [spaces[1]])
    checkpoint.restore(alone, 0, left)
    for name, tensor in alone.learner.trained().items():
        narrow = tuple(slice(0, size) for size in tensor.shape)
        assert torch.equal(tensor, left.tensors[f"trained/{name}"][narrow])

    (_, expected, _), (metrics,) = pack.run_epoch(), alone.run_epoch()
    del expected["seconds"], metrics["seconds"]
    assert metrics == pytest.approx(expected, rel=1e-4)
    tensors = dict(checkpoint.capture(pack, 1, []).tensors)
    for name, tensor in checkpoint.capture(alone, 0, []).tensors.items():
        narrow = tuple(slice(0, size) for size in tensor.shape)
        torch.testing.assert_close(tensor, tensors[name][narrow], rtol=1e-4, atol=1e-4)


def test_a_member_joins_a_pack_of_wider_ranks(problem: Problem, make_space: MakeSpace) -> None:
    narrow, wide = (make_space("selective_lora", {"rank": rank}) for rank in (1, 4))
    alone, pack = Training(problem, [narrow]), Training(problem, [wide, narrow])
    alone.run_epoch()
    with torch.no_grad():
        for tensor in pack.learner.trained().values():
            tensor[1].fill_(1.0)
    untouched = checkpoint.capture(pack, 0, [])
    checkpoint.restore(pack, 1, checkpoint.capture(alone, 0, []))
    for name, tensor in checkpoint.capture(pack, 1, []).tensors.items():
        mine = checkpoint.capture(alone, 0, []).tensors[name]
        overlap = tuple(slice(0, size) for size in mine.shape)
        assert torch.equal(tensor[overlap], mine)
        assert tensor.count_nonzero() == mine.count_nonzero()
    for name, tensor in checkpoint.capture(pack, 0, []).tensors.items():
        assert torch.equal(tensor, untouched.tensors[name])


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel refuses to write a file beyond this many bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_midway_leaves_the_last_good_file(
    saved: checkpoint.Checkpoint, tmp_path: Path
) -> None:
    checkpoint.write(saved, tmp_path)
    with files_end_at(4096), pytest.raises(OSError):
        checkpoint.write(checkpoint.Checkpoint(saved.tensors, 9, []), tmp_path)
    found = checkpoint.read(tmp_path)
    assert found is not None
    assert_equal(found, saved)

    checkpoint.write(checkpoint.Checkpoint(saved.tensors, 9, []), tmp_path)
    later = checkpoint.read(tmp_path)
    assert later is not None and later.epoch == 9


def test_a_write_that_cannot_begin_leaves_the_last_good_file(
    saved: checkpoint.Checkpoint, tmp_path: Path
) -> None:
    checkpoint.write(saved, tmp_path)
    (tmp_path / f"{checkpoint.FILE}.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoint.write(checkpoint.Checkpoint(saved.tensors, 9, []), tmp_path)
    found = checkpoint.read(tmp_path)
    assert found is not None
    assert_equal(found, saved)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_that_poses_as_a_checkpoint_is_refused(tmp_path: Path, dump: Callable[..., None]) -> None:
    with (tmp_path / checkpoint.FILE).open("wb") as file:
        dump(Payload(tmp_path / "was run"), file)
    with pytest.raises(Exception, match=r"(?i)header"):
        checkpoint.read(tmp_path)
    assert not (tmp_path / "was run").exists()
