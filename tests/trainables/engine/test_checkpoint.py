import os
import pickle
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from pyarrow.fs import FileSelector, FileSystem
from safetensors.torch import save

from search_spaces import Space
from trainables import Problem, ProblemError, Training
from trainables.engine import checkpoint
from trainables.engine.measures import Metrics

MakeSpace = Callable[..., Space]


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
    "adalora",
    "codyra",
    "keeplora",
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
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]

    checkpoint.write(checkpoint.Checkpoint(saved.tensors, 9, []), tmp_path)
    later = checkpoint.read(tmp_path)
    assert later is not None and later.epoch == 9


def test_a_write_that_cannot_end_leaves_what_is_there(saved: checkpoint.Checkpoint, tmp_path: Path) -> None:
    (tmp_path / checkpoint.FILE).mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoint.write(saved, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def test_writers_of_the_same_folder_do_not_disturb_each_other(
    saved: checkpoint.Checkpoint, tmp_path: Path
) -> None:
    """One was thought dead. Whatever the order, what is read is whole."""
    versions = [checkpoint.Checkpoint(saved.tensors, epoch, saved.history) for epoch in range(40)]
    with ThreadPoolExecutor(8) as writers:
        for written in [writers.submit(checkpoint.write, version, tmp_path) for version in versions]:
            written.result()
    found = checkpoint.read(tmp_path)
    assert found is not None
    assert_equal(found, versions[found.epoch])
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def test_a_url_of_a_file_is_its_path(saved: checkpoint.Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    assert checkpoint.read(folder.as_uri()) is None
    checkpoint.write(saved, folder.as_uri())
    found = checkpoint.read(str(folder))
    assert found is not None
    assert_equal(found, saved)


def test_a_path_needs_no_pyarrow(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["pyarrow"] = None
import torch
from trainables.engine import checkpoint
state = checkpoint.Checkpoint({{"generator": torch.zeros(3)}}, 4, [])
checkpoint.write(state, {str(tmp_path)!r})
print(checkpoint.read({str(tmp_path)!r}).epoch)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URL of a bucket in a real S3 server of this machine, with the name of the bucket to be filled in."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    query = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        files, _ = FileSystem.from_uri(f"s3://results?{query}&allow_bucket_creation=true")
        files.create_dir("results")
        yield f"s3://{{}}?{query}"
    server.stop()


def test_what_is_written_to_a_bucket_is_read(saved: checkpoint.Checkpoint, bucket: str) -> None:
    url = bucket.format("results/sweep/trials/a")
    assert checkpoint.read(url) is None
    for epoch in (1, 2):
        checkpoint.write(checkpoint.Checkpoint(saved.tensors, epoch, saved.history), url)
    found = checkpoint.read(url)
    assert found is not None
    assert_equal(found, checkpoint.Checkpoint(saved.tensors, 2, saved.history))
    files, path = FileSystem.from_uri(url)
    listed = [info.base_name for info in files.get_file_info(FileSelector(path))]
    assert listed == [checkpoint.FILE]


def test_a_bucket_that_is_not_there(saved: checkpoint.Checkpoint, bucket: str) -> None:
    url = bucket.format("other/sweep")
    assert checkpoint.read(url) is None
    with pytest.raises(OSError, match="'other' not found"):
        checkpoint.write(saved, url)


def test_a_damaged_file_in_a_bucket_is_named(bucket: str) -> None:
    url = bucket.format("results/damaged")
    files, path = FileSystem.from_uri(url)
    with files.open_output_stream(f"{path}/{checkpoint.FILE}") as file:
        file.write(b"not a checkpoint")
    with pytest.raises(ProblemError, match=rf"^results/damaged/{checkpoint.FILE}: not a checkpoint"):
        checkpoint.read(url)


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
    with pytest.raises(ProblemError, match=f"^{tmp_path / checkpoint.FILE}: not a checkpoint"):
        checkpoint.read(tmp_path)
    assert not (tmp_path / "was run").exists()


@pytest.fixture
def content(saved: checkpoint.Checkpoint, tmp_path: Path) -> bytes:
    checkpoint.write(saved, tmp_path / "sound")
    return (tmp_path / "sound" / checkpoint.FILE).read_bytes()


def assert_refused(content: bytes, folder: Path) -> None:
    (folder / checkpoint.FILE).write_bytes(content)
    with pytest.raises(
        ProblemError, match=f"^{folder / checkpoint.FILE}: not a checkpoint, or a damaged one"
    ):
        checkpoint.read(folder)


def test_a_file_that_was_cut_off_is_refused(content: bytes, tmp_path: Path) -> None:
    for size in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        assert_refused(content[:size], tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "1"},
        {"state": "no JSON"},
        {"state": "[]"},
        {"state": "[" * 100_000},
        {"state": '{"epoch": 1}'},
        {"state": '{"epoch": "1", "history": []}'},
        {"state": '{"epoch": 1, "history": 2}'},
    ],
)
def test_tensors_of_something_else_are_refused(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    assert_refused(save({"generator": torch.zeros(2)}, metadata), tmp_path)


def test_a_checkpoint_of_another_version_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """Its numbers mean something else. The first version had no number."""
    metadata = {"state": '{"epoch": 1, "history": []}'}
    (tmp_path / checkpoint.FILE).write_bytes(save({"generator": torch.zeros(2)}, metadata))
    with pytest.raises(ProblemError, match="its format version is 1, this is version 2; go on with"):
        checkpoint.read(tmp_path)


def test_without_its_random_state_a_training_does_not_go_on(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("lora")])
    saved = checkpoint.capture(training, 0, [])
    del saved.tensors["generator"]
    with pytest.raises(ProblemError, match="it has no random state to go on from"):
        checkpoint.restore(training, 0, saved)


def test_no_change_of_the_header_breaks_the_reader(content: bytes, tmp_path: Path) -> None:
    """Random bytes anywhere in front: a checkpoint is read, or refused by name."""
    source = random.Random(0)
    file, outcomes = tmp_path / checkpoint.FILE, set()
    for _ in range(300):
        changed = bytearray(content)
        changed[source.randrange(1000)] = source.randrange(256)
        file.write_bytes(changed)
        try:
            checkpoint.read(tmp_path)
            outcomes.add("read")
        except ProblemError as error:
            assert str(error).startswith(f"{file}: ")
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_checkpoint_of_another_training_is_refused(
    saved: checkpoint.Checkpoint, problem: Problem, make_space: MakeSpace
) -> None:
    with pytest.raises(ProblemError, match=r"does not fit the trial: it has no such tensor as trained/"):
        checkpoint.restore(Training(problem, [make_space("full")]), 0, saved)
