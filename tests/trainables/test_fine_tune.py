"""The trainable driven as Ray Tune drives it, without Ray."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from trainables import Problem, Training, checkpoint
from trainables.backbones import Backbone
from trainables.encoder import Encoder
from trainables.fine_tune import FineTune
from trainables.measures import Split
from trainables.probes import Probe
from trainables.training import best_device

MakeSpace = Callable[..., dict[str, Any]]
Member = dict[str, Any]


@pytest.fixture
def problem(problem: Problem) -> Problem:
    """Where the trainable itself puts it, so that numbers can be compared to the bit."""
    return problem.to(best_device())


def fine_tune(problem: Problem, members: Sequence[Member]) -> FineTune:
    """Set up as in an actor, past the constructor of Trainable, which makes a log folder and asks Ray."""
    trainable = FineTune.__new__(FineTune)
    trainable.setup({"members": list(members)}, problem, dict(problem.reference))
    return trainable


@pytest.fixture
def make_member(make_space: MakeSpace, tmp_path: Path) -> Callable[..., Member]:
    def make(key: str, *settings: Any, **training: Any) -> Member:
        return {"key": key, "space": make_space(*settings, **training), "folder": str(tmp_path / key)}

    return make


MakeMember = Callable[..., Member]


def run(trainable: FineTune) -> list[dict[str, Any]]:
    """Results of all steps to the end."""
    results = [trainable.step()]
    while not results[-1]["done"]:
        assert len(results) < 10
        results.append(trainable.step())
    return results


def untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "seconds"}


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


class BrokenProbe(Probe):
    """Gives no number to the second member."""

    name = "broken"

    @classmethod
    def open(cls, name: str, source: Mapping[str, Any], backbone: Backbone) -> Self:
        return cls()

    def to(self, device: str) -> Self:
        return self

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


@pytest.mark.parametrize("spoil", [b"not a checkpoint", b""])
def test_an_exception_fails_the_pack_with_its_reason(
    problem: Problem, make_member: MakeMember, spoil: bytes
) -> None:
    members = [make_member("a", "lora"), make_member("b", "lora")]
    folder = Path(members[1]["folder"])
    folder.mkdir()
    (folder / checkpoint.FILE).write_bytes(spoil)
    (result,) = run(fine_tune(problem, members))
    assert [report["state"] for report in result["members"]] == ["failed", "failed"]
    assert all(report["reason"].startswith("SafetensorError: ") for report in result["members"])


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
