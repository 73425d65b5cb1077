"""The trainable driven as Ray Tune drives it, without Ray."""

import gc
import math
import os
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_probe import MadeUpProbe

from search_spaces import Space
from search_spaces.training import Resources
from trainables import Problem, Training
from trainables.data import ImageSet
from trainables.device import device_for
from trainables.engine import checkpoint
from trainables.engine.encoder import Encoder
from trainables.engine.measures import Split
from trainables.fine_tune import FineTune

MakeSpace = Callable[..., Space]
Member = dict[str, Any]


@pytest.fixture
def problem(problem: Problem) -> Problem:
    """Where the trainable itself puts it, so that numbers can be compared to the bit."""
    return problem.to("cpu")


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """An actor keeps what it has for good; this process goes on to other tests."""
    yield
    gc.unfreeze()


def fine_tune(problem: Problem, members: Sequence[Member]) -> FineTune:
    """Set up as in an actor, past the constructor of Trainable, which makes a log folder and asks Ray."""
    trainable = FineTune.__new__(FineTune)
    trainable.setup({"members": list(members)}, problem, dict(problem.reference))
    return trainable


@pytest.fixture
def make_member(make_space: MakeSpace, tmp_path: Path) -> Callable[..., Member]:
    def make(key: str, *settings: Any, minutes: float | None = None, **training: Any) -> Member:
        limit = {"resources": Resources(minutes_per_trial=minutes)}
        space = make_space(*settings, **training).model_copy(update=limit)
        return {"key": key, "space": space, "folder": str(tmp_path / key)}

    return make


MakeMember = Callable[..., Member]


def run(trainable: FineTune) -> list[dict[str, Any]]:
    """Results of all steps to the end."""
    results = [trainable.step()]
    while not results[-1]["over"]:
        assert len(results) < 10
        results.append(trainable.step())
    return results


def untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "seconds"}


def test_a_trial_trains_on_what_it_asks_for(
    problem: Problem, make_member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as where Ray hides no GPU
    trained = fine_tune(problem, [make_member("a", "zero_shot")])
    assert {images.device.type for images in trained.problem.backbone.parameters()} == {"cpu"}
    monkeypatch.undo()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match=r"0.5 asked for by resources\.gpus"):
            device_for(0.5)


def test_every_epoch_is_reported_and_the_last_with_test_metrics(
    problem: Problem, make_member: MakeMember
) -> None:
    members = [make_member("a", "selective_lora"), make_member("b", "selective_lora", {"lambda": 50.0})]
    first, last = run(fine_tune(problem, members))
    for epoch, (result, state) in enumerate([(first, "running"), (last, "complete")], start=1):
        assert [report["key"] for report in result["members"]] == ["a", "b"]
        for report in result["members"]:
            assert (report["state"], report["reason"]) == (state, None)
            assert [metrics["epoch"] for metrics in report["epochs"]] == [epoch]
            assert report["epochs"][0].items() <= report["metrics"].items()
            assert ("test/id_accuracy" in report["metrics"]) == (state == "complete")
    open_member, closed_member = last["members"]
    assert len(open_member["active"]) == open_member["metrics"]["active_blocks"] > 0
    assert closed_member["active"] == ()


def test_the_numbers_are_those_of_the_training(problem: Problem, make_member: MakeMember) -> None:
    member = make_member("a", "selective_lora")
    training = Training(problem, [member["space"]])
    expected = [training.run_epoch()[0], training.run_epoch()[0], training.test()[0]]
    results = run(fine_tune(problem, [member]))
    epochs = [metrics for result in results for metrics in result["members"][0]["epochs"]]
    assert [untimed(metrics) for metrics in epochs] == [untimed(metrics) for metrics in expected[:2]]
    assert untimed(results[-1]["members"][0]["metrics"]) == untimed({**expected[1], **expected[2]})
    assert 0 < epochs[0]["seconds"] < epochs[1]["seconds"]


def test_some_epochs_are_not_validated_and_the_last_is(problem: Problem, make_member: MakeMember) -> None:
    """Every epoch is saved and reported; the last known metrics are those of the last validation."""
    every = make_member("a", "selective_lora", epochs=5)
    some = make_member("b", "selective_lora", epochs=5, validate_every=2)
    plain, reports = (
        [result["members"][0] for result in run(fine_tune(problem, [member]))] for member in (every, some)
    )
    epochs = [metrics for report in reports for metrics in report["epochs"]]
    assert ["id_accuracy" in metrics for metrics in epochs] == [False, True, False, True, True]
    for metrics, expected in zip(
        epochs, (epoch for report in plain for epoch in report["epochs"]), strict=True
    ):
        assert untimed(metrics).items() <= untimed(expected).items()
    assert [report["metrics"].get("epoch") for report in reports] == [None, 2, 2, 4, 5]
    assert untimed(reports[-1]["metrics"]) == untimed(plain[-1]["metrics"])
    saved = checkpoint.read(some["folder"])
    assert saved is not None and saved.epoch == 5 and len(saved.history) == 5


def test_a_member_that_diverges_between_two_validations_fails(
    problem: Problem, make_member: MakeMember
) -> None:
    bad = make_member("bad", "selective_lora", epochs=4, batch_size=4, lr=1e30, validate_every=4)
    first = fine_tune(problem, [bad]).step()["members"][0]
    assert (first["state"], first["reason"]) == ("failed", "loss became nan in epoch 1")


def test_a_method_that_trains_nothing_ends_at_once(problem: Problem, make_member: MakeMember) -> None:
    (result,) = run(fine_tune(problem, [make_member("a", "zero_shot")]))
    (report,) = result["members"]
    assert (report["state"], report["epochs"]) == ("complete", [])
    assert report["metrics"] == problem.reference


@pytest.mark.parametrize("rate", [1e30, math.inf])
def test_a_member_that_diverges_fails_alone(problem: Problem, make_member: MakeMember, rate: float) -> None:
    members = [
        make_member("bad", "selective_lora", {"rank": 2}, lr=rate),
        make_member("good", "selective_lora", {"rank": 1}),
    ]
    alone = run(fine_tune(problem, [{**members[1], "folder": members[1]["folder"] + "-alone"}]))
    first, last = run(fine_tune(problem, members))
    bad, good = first["members"]
    assert (bad["key"], bad["state"]) == ("bad", "failed")
    assert bad["reason"] == "id_accuracy became nan in epoch 1"
    assert good["state"] == "running"

    (good,) = last["members"]
    assert (good["key"], good["state"]) == ("good", "complete")
    expected = untimed(alone[-1]["members"][0]["metrics"])
    assert untimed(good["metrics"]) == pytest.approx(expected, rel=1e-4)
    assert not Path(members[0]["folder"]).exists()


class BrokenProbe(MadeUpProbe):
    """Gives no number to the second member."""

    name = "broken"

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        return [50.0, math.nan]


def test_a_probe_that_goes_nan_fails_the_trial_by_its_name(problem: Problem, make_member: MakeMember) -> None:
    reference = {**problem.reference, "probe/broken": 60.0, "test/probe/broken": 60.0}
    broken = replace(problem, probes=(*problem.probes, BrokenProbe()), reference=reference)
    first, last = run(fine_tune(broken, [make_member("good", "lora"), make_member("bad", "lora")]))
    good, bad = first["members"]
    assert good["state"] == "running"
    assert (bad["state"], bad["reason"]) == ("failed", "probe/broken became nan in epoch 1")
    assert [(report["key"], report["state"]) for report in last["members"]] == [("good", "complete")]


@dataclass(frozen=True)
class DoingProbe(MadeUpProbe):
    """Does something where accuracy is measured for the n-th time, with a pack of a size."""

    images: ImageSet
    do: Callable[[int, int], object]
    calls: list[int]
    name: str = "doing"

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        size = len(next(iter(encoder.parts(self.images))))
        self.calls.append(size)
        self.do(len(self.calls), size)
        return [50.0] * size


def with_probe(problem: Problem, do: Callable[[int, int], object]) -> Problem:
    reference = {**problem.reference, "probe/doing": 60.0, "test/probe/doing": 60.0}
    probe = DoingProbe(problem.task.val, do, [])
    return replace(problem, probes=(*problem.probes, probe), reference=reference)


def test_an_exception_fails_the_pack_with_its_reason(problem: Problem, make_member: MakeMember) -> None:
    def refuse(call: int, size: int) -> None:
        raise RuntimeError("no such kernel")

    members = [make_member("a", "lora"), make_member("b", "lora")]
    (result,) = run(fine_tune(with_probe(problem, refuse), members))
    assert [report["state"] for report in result["members"]] == ["failed", "failed"]
    assert {report["reason"] for report in result["members"]} == {"RuntimeError: no such kernel"}


@pytest.mark.parametrize("epochs_before", [0, 1, 2])
def test_a_member_whose_checkpoint_is_damaged_fails_alone(
    problem: Problem, make_member: MakeMember, epochs_before: int
) -> None:
    members = [make_member(key, "lora", seed=seed) for seed, key in enumerate(("good", "bad"))]
    expected = run(fine_tune(problem, [{**members[0], "folder": members[0]["folder"] + "-alone"}]))[-1]
    before = fine_tune(problem, members[:1])
    for _ in range(epochs_before):
        before.step()
    file = Path(members[1]["folder"]) / checkpoint.FILE
    file.parent.mkdir()
    file.write_bytes(b"not a checkpoint")

    results = run(fine_tune(problem, members))
    bad = results[0]["members"][1]
    assert (bad["key"], bad["state"]) == ("bad", "failed")
    assert bad["reason"].startswith(f"ProblemError: {file}: not a checkpoint")
    good = results[-1]["members"][0]
    assert (good["key"], good["state"], len(results)) == ("good", "complete", max(1, 2 - epochs_before))
    metrics = untimed(expected["members"][0]["metrics"])
    assert untimed(good["metrics"]) == pytest.approx(metrics, rel=1e-4)
    assert file.read_bytes() == b"not a checkpoint"


def test_nothing_is_trained_for_members_that_cannot_be_read(
    problem: Problem, make_member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, and one of another method, whose tensors have other names."""
    members = [make_member("a", "lora"), make_member("b", "lora")]
    other = Training(problem, [make_member("c", "full")["space"]])
    Path(members[0]["folder"]).write_text("a file, not a folder")
    checkpoint.write(checkpoint.capture(other, 0, []), members[1]["folder"])
    monkeypatch.setattr(Training, "run_epoch", lambda self: pytest.fail("trained"))
    (result,) = run(fine_tune(problem, members))
    a, b = result["members"]
    assert (a["state"], b["state"]) == ("failed", "failed")
    assert a["reason"].startswith("NotADirectoryError: ")
    assert b["reason"].startswith("ProblemError: the checkpoint does not fit the trial: ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system lets no file system be mounted")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_no_fault_of_a_trial(
    problem: Problem, make_member: MakeMember, small_disk: Path
) -> None:
    """It ends the process, and costs no more than the epoch that could not be saved."""
    members = [make_member("good", "lora"), {**make_member("bad", "lora"), "folder": str(small_disk / "bad")}]
    trainable = fine_tune(problem, members)
    assert [report["state"] for report in trainable.step()["members"]] == ["running", "running"]
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "other data").write_bytes(bytes(2**20))
    with pytest.raises(OSError, match="No space left"):
        trainable.step()
    for member, epoch in zip(members, (2, 1), strict=True):
        saved = checkpoint.read(member["folder"])
        assert saved is not None and saved.epoch == epoch
        assert [path.name for path in Path(member["folder"]).iterdir()] == [checkpoint.FILE]
    (small_disk / "other data").unlink()
    again = run(fine_tune(problem, members[1:]))
    assert [report["state"] for report in again[-1]["members"]] == ["complete"]
    assert [epoch["epoch"] for epoch in again[-1]["members"][0]["epochs"]] == [1, 2]


# No machine has so much memory (bytes), so the allocator refuses at once.
PETABYTE = 2**50


def test_a_pack_that_is_too_large_for_the_memory_goes_on_in_smaller_ones(
    problem: Problem, make_member: MakeMember
) -> None:
    """The allocation fails in the second epoch of more than one."""
    through = run(fine_tune(with_probe(problem, lambda call, size: None), [make_member("through", "lora")]))
    hungry = with_probe(
        problem, lambda call, size: torch.empty(PETABYTE if call == 2 and size == 2 else 1, dtype=torch.uint8)
    )
    members = [make_member("a", "lora"), make_member("b", "lora")]
    trainable = fine_tune(hungry, members)
    trainable.step()
    (last,) = run(trainable)
    assert [(report["key"], report["state"]) for report in last["members"]] == [
        ("a", "again"),
        ("b", "again"),
    ]
    assert all("memory in a pack of 2 (" in report["reason"] for report in last["members"])
    assert all(report["epochs"] == [] for report in last["members"])

    for member in members:
        trainable.reset_config({"members": [member]})
        (result,) = run(trainable)
        (report,) = result["members"]
        assert (report["state"], [m["epoch"] for m in report["epochs"]]) == ("complete", [1, 2])
        expected = untimed(through[-1]["members"][0]["metrics"])
        assert untimed(report["metrics"]) == pytest.approx(expected, rel=1e-4)


def test_a_trial_that_is_too_large_for_the_memory_fails_alone_with_a_remedy(
    problem: Problem, make_member: MakeMember
) -> None:
    """The wide member's weights are some terabytes, and so are all others' that are padded to them."""
    members = [make_member("wide", "lora", {"rank": 2**40}), make_member("narrow", "lora", {"rank": 1})]
    trainable = fine_tune(problem, members)
    (result,) = run(trainable)
    assert [report["state"] for report in result["members"]] == ["again", "again"]
    ends = {}
    for member in members:
        trainable.reset_config({"members": [member]})
        (ends[member["key"]],) = run(trainable)[-1]["members"]
    assert ends["narrow"]["state"] == "complete"
    assert ends["wide"]["state"] == "failed"
    remedy = (
        "out of memory: lower training.batch_size, raise training.accumulate, or use a GPU with more memory ("
    )
    assert ends["wide"]["reason"].startswith(remedy)


def test_a_python_object_that_is_too_large_is_out_of_memory_too(
    problem: Problem, make_member: MakeMember
) -> None:
    hungry = with_probe(problem, lambda call, size: bytearray(PETABYTE))
    (result,) = run(fine_tune(hungry, [make_member("a", "lora")]))
    (report,) = result["members"]
    assert report["reason"].startswith("out of memory: ") and "MemoryError" in report["reason"]


def test_a_member_that_had_ended_does_not_go_on_in_a_smaller_pack(
    problem: Problem, make_member: MakeMember
) -> None:
    hungry = with_probe(
        problem, lambda call, size: torch.empty(PETABYTE if call == 2 else 1, dtype=torch.uint8)
    )
    bad = make_member("bad", "selective_lora", {"rank": 2}, lr=1e30)
    first, last = run(fine_tune(hungry, [bad, make_member("good", "selective_lora", {"rank": 1})]))
    assert [report["state"] for report in first["members"]] == ["failed", "running"]
    assert [(report["key"], report["state"]) for report in last["members"]] == [("good", "again")]


def test_a_member_that_fails_by_itself_keeps_its_own_reason(
    problem: Problem, make_member: MakeMember
) -> None:
    hungry = with_probe(problem, lambda call, size: torch.empty(PETABYTE, dtype=torch.uint8))
    members = [make_member("good", "lora"), make_member("bad", "lora")]
    Path(members[1]["folder"]).write_text("a file, not a folder")
    (result,) = run(fine_tune(hungry, members))
    good, bad = result["members"]
    assert (good["state"], bad["state"]) == ("again", "failed")
    assert bad["reason"].startswith("NotADirectoryError: ")


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Whatever frees memory asks for it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_a_pack_that_failed_holds_no_memory(problem: Problem, make_member: MakeMember) -> None:
    hungry = with_probe(
        problem, lambda call, size: torch.empty(PETABYTE if call == 2 else 1, dtype=torch.uint8)
    )
    trainable = fine_tune(hungry, [make_member(key, "lora") for key in "ab"])
    trainable.step()
    assert trainable.training is not None
    weights = [weakref.ref(weight) for weight in trainable.training.learner.trained().values()]
    assert weights and all(weight() is not None for weight in weights)
    trainable.step()
    assert all(weight() is None for weight in weights)


def test_a_pack_that_takes_too_long_fails(problem: Problem, make_member: MakeMember) -> None:
    """The first epoch is in time, the second hangs."""
    slow = with_probe(problem, lambda call, size: time.sleep(60 if call == 2 else 0))
    trainable = fine_tune(slow, [make_member(key, "lora", minutes=0.1) for key in "ab"])
    start = time.monotonic()
    first, last = run(trainable)
    assert time.monotonic() - start < 30
    assert [report["state"] for report in first["members"]] == ["running", "running"]
    for report in last["members"]:
        assert report["state"] == "failed"
        assert report["reason"] == "TimeoutError: ran longer than 0.1 minutes (resources.minutes_per_trial)"


def test_the_next_pack_has_a_time_of_its_own(problem: Problem, make_member: MakeMember) -> None:
    slow = with_probe(problem, lambda call, size: time.sleep(60 if call == 1 else 0))
    trainable = fine_tune(slow, [make_member("slow", "lora", minutes=0.05)])
    assert run(trainable)[-1]["members"][0]["state"] == "failed"
    trainable.reset_config({"members": [make_member("quick", "lora", minutes=10)]})
    assert run(trainable)[-1]["members"][0]["state"] == "complete"


def test_it_goes_on_from_its_folder(problem: Problem, make_member: MakeMember) -> None:
    """In a new process: the epochs before are reported again, the end is the same."""
    through = run(fine_tune(problem, [make_member("through", "selective_lora", epochs=3)]))
    interrupted = make_member("interrupted", "selective_lora", epochs=3)
    fine_tune(problem, [interrupted]).step()
    second, third = run(fine_tune(problem, [interrupted]))

    assert [metrics["epoch"] for metrics in second["members"][0]["epochs"]] == [1, 2]
    assert [metrics["epoch"] for metrics in third["members"][0]["epochs"]] == [3]
    mine, theirs = third["members"][0], through[-1]["members"][0]
    assert untimed(mine["metrics"]) == untimed(theirs["metrics"])
    assert mine["active"] == theirs["active"]
    seconds = [m["seconds"] for result in (second, third) for m in result["members"][0]["epochs"]]
    assert seconds == sorted(seconds)


def test_members_that_were_saved_at_different_epochs_start_anew_together(
    problem: Problem, make_member: MakeMember
) -> None:
    through = run(fine_tune(problem, [make_member(key, "lora", seed=s) for s, key in enumerate("ab")]))
    members = [make_member(f"{key}-again", "lora", seed=s) for s, key in enumerate("ab")]
    fine_tune(problem, members).step()
    ahead = fine_tune(problem, members[:1])
    ahead.step()
    saved = [checkpoint.read(Path(member["folder"])) for member in members]
    assert [state.epoch for state in saved if state] == [2, 1]

    last = run(fine_tune(problem, members))[-1]
    for mine, theirs in zip(last["members"], through[-1]["members"], strict=True):
        assert untimed(mine["metrics"]) == untimed(theirs["metrics"])


def test_a_trial_that_had_trained_to_its_end_is_only_tested(
    problem: Problem, make_member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = make_member("a", "selective_lora")
    before = run(fine_tune(problem, [member]))[-1]["members"][0]
    monkeypatch.setattr(Training, "run_epoch", lambda self: pytest.fail("trained again"))
    (result,) = run(fine_tune(problem, [member]))
    (after,) = result["members"]
    assert [metrics["epoch"] for metrics in after["epochs"]] == [1, 2]
    assert {**after, "epochs": []} == {**before, "epochs": []}


def test_an_actor_takes_the_next_pack(problem: Problem, make_member: MakeMember) -> None:
    trainable = fine_tune(problem, [make_member("first", "lora")])
    run(trainable)
    assert trainable.reset_config({"members": [make_member("second", "selective_lora", epochs=1)]})
    (result,) = run(trainable)
    expected = run(fine_tune(problem, [make_member("fresh", "selective_lora", epochs=1)]))
    assert result["members"][0]["key"] == "second"
    assert untimed(result["members"][0]["metrics"]) == untimed(expected[0]["members"][0]["metrics"])


def test_an_actor_recovers_from_a_pack_that_failed(problem: Problem, make_member: MakeMember) -> None:
    """A key that ended in one pack says nothing about the next."""
    member = make_member("a", "lora", epochs=1)
    Path(member["folder"]).mkdir()
    (Path(member["folder"]) / checkpoint.FILE).write_bytes(b"not a checkpoint")
    trainable = fine_tune(problem, [member])
    run(trainable)
    (Path(member["folder"]) / checkpoint.FILE).unlink()
    trainable.reset_config({"members": [member]})
    assert run(trainable)[0]["members"][0]["state"] == "complete"
