"""Gates whose number of open blocks falls to a budget, and gates that are given."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine import checkpoint
from trainables.methods import SelectiveLora
from trainables.methods.gated import GatedMethod

MakeSpace = Callable[..., Space]
COUNTS = (1, 2, 5, 7, 8)
MASK = ("image.0.proj", "image.1.fc1")


def make(problem: Problem, make_space: MakeSpace, *members: Mapping[str, Any], epochs: int = 4) -> Training:
    spaces = [
        make_space("selective_lora", {"score_lr": 1.0, **own}, lr=0.02, epochs=epochs) for own in members
    ]
    return Training(problem, spaces)


def gated(training: Training) -> SelectiveLora:
    method = training.learner.method
    assert isinstance(method, SelectiveLora)
    return method


def open_counts(training: Training) -> list[int]:
    return gated(training).open().sum(dim=1).int().tolist()


@pytest.mark.parametrize("name", ["selective_lora", "taps"])
@pytest.mark.parametrize("ramp", [0.1, 0.5, 1.0])
def test_every_member_ends_with_the_count_it_was_asked_for(
    problem: Problem, make_space: MakeSpace, name: str, ramp: float
) -> None:
    spaces = [make_space(name, {"active_blocks": count, "ramp": ramp}, epochs=2) for count in COUNTS]
    training = Training(problem, spaces)
    for _ in range(2):
        metrics = training.run_epoch()
    assert [row["active_blocks"] for row in metrics] == list(COUNTS)
    assert [len(active) for active in training.learner.method.active_blocks()] == list(COUNTS)


def test_the_count_falls_along_the_cubic_and_stays(problem: Problem, make_space: MakeSpace) -> None:
    training = make(problem, make_space, {"active_blocks": 2, "ramp": 0.75}, epochs=4)
    counts, advance = [], gated(training).advance

    def watched(step: int) -> None:
        advance(step)
        counts.append(open_counts(training)[0])

    training.learner.method.advance = watched  # type: ignore[method-assign]
    for _ in range(4):
        training.run_epoch()
    # Three batches an epoch; the start of an epoch says the step before once more.
    of_step = [count for place, count in enumerate(counts) if place == 0 or place % 4]
    ramp = [2 + round(6 * (1 - step / 9) ** 3) for step in range(10)]
    assert of_step == [*ramp, 2, 2, 2]


def test_the_gates_are_those_that_the_reported_price_would_have_cut(
    problem: Problem, make_space: MakeSpace
) -> None:
    """lambda, taken from every score at each step, is what the cuts took."""
    training = make(problem, make_space, {"active_blocks": 3, "ramp": 1.0})
    gates, pushed = gated(training).gates, torch.full((8,), 0.15)
    update = training._step.update

    def watched(share: float | torch.Tensor) -> None:
        assert gates.scores.grad is not None
        pushed.sub_(share * gates.scores.grad[0])
        update(share)

    training._step.update = watched  # type: ignore[method-assign]
    for _ in range(4):
        metrics = training.run_epoch()
    taken = metrics[0]["lambda"] * sum(training._share(n) for n in range(1, training.steps + 1)) / 8
    torch.testing.assert_close(gates.scores[0].detach(), pushed - taken, rtol=0, atol=1e-5)
    assert int((pushed - taken >= 0.1).sum()) == 3


def test_the_order_of_closing_is_told(problem: Problem, make_space: MakeSpace) -> None:
    training = make(problem, make_space, {"active_blocks": 2}, {"active_blocks": 5}, {})
    seen: list[set[str]] = []
    for _ in range(4):
        training.run_epoch()
        seen.append(set(training.learner.method.closing_order()[0]))
    first, second, priced = training.learner.method.closing_order()
    active = training.learner.method.active_blocks()
    assert (len(first), len(second), priced) == (6, 3, ())
    assert set(first) | set(active[0]) == set(training.learner.method.blocks)
    assert set(second) | set(active[1]) == set(training.learner.method.blocks)
    method = gated(training)
    at = [float(method.decided()["closed_at"][0, method.blocks.index(name)]) for name in first]
    assert at == sorted(at) and all(a <= b for a, b in pairwise(at))


def test_a_member_of_a_pack_ends_as_it_would_alone(problem: Problem, make_space: MakeSpace) -> None:
    """Also after blocks have been left out for some members and not for others."""
    members: list[dict[str, Any]] = [
        {"active_blocks": 1},
        {"mask": MASK},
        {"lambda": 0.4},
        {"active_blocks": 6, "rank": 2, "ramp": 0.25},
    ]
    pack = make(problem, make_space, *members)
    alone = [make(problem, make_space, member) for member in members]
    for _ in range(4):
        together = pack.run_epoch()
        apart = [training.run_epoch()[0] for training in alone]
    for ours, theirs in zip(together, apart, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name
    assert pack.learner.method.active_blocks() == [t.learner.method.active_blocks()[0] for t in alone]


@pytest.mark.parametrize("own", [{"mask": MASK}, {"active_blocks": 2, "ramp": 0.5}], ids=["mask", "count"])
def test_closed_blocks_are_never_computed_again(
    problem: Problem, make_space: MakeSpace, own: dict[str, Any]
) -> None:
    training = make(problem, make_space, own, epochs=2)
    training.run_epoch()
    method, called = gated(training), set()
    for name, block in zip(method.blocks, method.placed, strict=True):
        update = block._scaled

        def watched(*args: Any, name: str = name, update: Any = update) -> Any:
            called.add(name)
            return update(*args)

        block._scaled = watched  # type: ignore[method-assign]
    training.run_epoch()
    assert called == set(method.active_blocks()[0]) and len(called) == 2


@pytest.mark.parametrize("own", [{"mask": MASK}, {"active_blocks": 3, "ramp": 0.5}], ids=["mask", "count"])
def test_what_was_left_out_changes_nothing(
    problem: Problem, make_space: MakeSpace, own: dict[str, Any]
) -> None:
    """The plain twin computes closed blocks too, and multiplies them by zero."""
    fast, plain = (make(problem, make_space, own) for _ in range(2))
    gated(plain)._drop = lambda: None  # type: ignore[method-assign]
    for block in gated(plain).placed:
        block.members = None
    for _ in range(4):
        ours, theirs = fast.run_epoch()[0], plain.run_epoch()[0]
        assert {n: v for n, v in ours.items() if n != "seconds"} == pytest.approx(
            {n: v for n, v in theirs.items() if n != "seconds"}, abs=1e-5
        )


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("own", [{"mask": MASK}, {"active_blocks": 3, "ramp": 0.6}], ids=["mask", "count"])
def test_an_interrupted_trial_ends_as_one_that_never_was(
    problem: Problem, make_space: MakeSpace, own: dict[str, Any], before: int
) -> None:
    whole, cut = (make(problem, make_space, own) for _ in range(2))
    for _ in range(before):
        cut.run_epoch()
    rest = make(problem, make_space, own)
    checkpoint.restore(rest, 0, checkpoint.capture(cut, 0, []))
    for _ in range(4):
        expected = whole.run_epoch()[0]
    for _ in range(4 - before):
        found = rest.run_epoch()[0]
    assert {n: v for n, v in found.items() if n != "seconds"} == {
        n: v for n, v in expected.items() if n != "seconds"
    }
    assert rest.learner.method.closing_order() == whole.learner.method.closing_order()


def test_a_mask_is_open_from_the_start_and_its_scores_are_never_trained(
    problem: Problem, make_space: MakeSpace
) -> None:
    training = make(problem, make_space, {"mask": MASK, "lambda": 100.0})
    before = gated(training).gates.scores.detach().clone()
    for _ in range(4):
        (metrics,) = training.run_epoch()
        assert gated(training).active_blocks() == [MASK]
    assert torch.equal(gated(training).gates.scores, before)
    assert "lambda" not in metrics and metrics["expected_active_blocks"] == 2


def test_the_expected_count_is_the_real_one_at_the_end(problem: Problem, make_space: MakeSpace) -> None:
    training = make(problem, make_space, *({"lambda": price} for price in (0.0, 0.2, 0.5, 1.0, 4.0)))
    for _ in range(4):
        metrics = training.run_epoch()
    assert [row["expected_active_blocks"] for row in metrics] == [row["active_blocks"] for row in metrics]


def test_the_expected_count_is_that_of_the_price_alone_where_the_task_does_not_push(
    problem: Problem, make_space: MakeSpace
) -> None:
    """Without a push, scores end at 0.15 - lambda P: all stay open, or none, and it shows from the start."""
    training = make(problem, make_space, {"lambda": 0.1}, {"lambda": 0.12}, epochs=4)
    method = gated(training)
    total = sum(training._share(n) for n in range(1, training.steps + 1)) / 8
    closing = 0.05 / total
    prices = torch.tensor([0.9 * closing, 1.1 * closing])
    method.gates.price.copy_(prices)
    method.members = [
        own.model_copy(update={"lambda_": float(p)}) for own, p in zip(method.members, prices, strict=True)
    ]
    for number in (1, 2, 3):
        method.penalty(0).sum().backward()
        training.optimizers[-1].step(training._share(number))
        method.advance(number)
        assert [told["expected_active_blocks"] for told in method.gate_metrics()] == [8, 0]
    assert open_counts(training) == [8, 8]


def test_methods_without_gates_expect_nothing(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("random_blocks", {"active_blocks": 3})])
    assert not isinstance(training.learner.method, GatedMethod)
    assert training.learner.method.gate_metrics() == [{}]
