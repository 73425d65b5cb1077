import pytest
import torch
from torch import Generator, nn

from search_spaces import Lora
from trainables.engine.counts import falling_count
from trainables.engine.gates import Gates, indicator
from trainables.methods.blocks import LowRankBlock


def test_a_gate_is_open_at_and_above_the_threshold() -> None:
    threshold = torch.tensor(0.1)
    below = torch.nextafter(threshold, torch.tensor(0.0))
    scores = torch.stack([torch.tensor(-1.0), below, threshold, torch.tensor(0.15)])
    assert indicator(scores, threshold).tolist() == [0, 0, 1, 1]


def test_the_gradient_of_the_indicator_is_the_identity() -> None:
    scores = torch.tensor([-1.0, 0.05, 0.1, 3.0], requires_grad=True)
    incoming = torch.tensor([0.5, -2.0, 7.0, 0.0])
    indicator(scores, torch.tensor(0.1)).backward(incoming)
    assert torch.equal(scores.grad, incoming)


def test_every_member_has_its_own_threshold_and_initial_score() -> None:
    gates = Gates(3, initial=[0.15, 0.4], threshold=[0.2, 0.3], price=[1.0, 1.0], penalty="mean")
    assert gates.scores.tolist() == [[pytest.approx(0.15)] * 3, [pytest.approx(0.4)] * 3]
    assert gates().tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("penalty, norms", [("mean", (0.3, 0.4)), ("sum", (0.9, 1.2))])
def test_the_penalty_is_each_members_price_of_its_scores(penalty: str, norms: tuple[float, float]) -> None:
    gates = Gates(3, initial=[0.0, 0.0], threshold=[0.1, 0.1], price=[0.5, 2.0], penalty=penalty)
    with torch.no_grad():
        gates.scores.copy_(torch.tensor([[0.2, -0.3, 0.4], [-0.6, 0.5, 0.1]]))
    assert gates.penalty().tolist() == pytest.approx([0.5 * norms[0], 2.0 * norms[1]])


@pytest.mark.parametrize("penalty, share", [("mean", 1 / 3), ("sum", 1.0)])
def test_the_penalty_pulls_every_score_to_zero_with_the_same_force(penalty: str, share: float) -> None:
    gates = Gates(3, initial=[0.2, -0.2], threshold=[0.1, 0.1], price=[0.5, 2.0], penalty=penalty)
    gates.penalty().sum().backward()
    assert torch.allclose(gates.scores.grad, torch.tensor([[0.5 * share] * 3, [-2.0 * share] * 3]))


def test_a_closed_block_learns_nothing_but_can_reopen() -> None:
    gates = Gates(1, initial=[0.15, 0.05], threshold=[0.1, 0.1], price=[1.0, 1.0], penalty="mean")
    generators = [Generator().manual_seed(seed) for seed in (0, 1)]
    members = [Lora(name="lora", rank=2)] * 2
    block = LowRankBlock(nn.Linear(5, 4), slice(None), lambda: gates()[:, 0], members, generators)
    nn.init.normal_(block.up, generator=generators[0])
    block(torch.randn(6, 5, generator=generators[0])).square().sum().backward()

    opened, closed = 0, 1
    assert block.down.grad[opened].all() and block.up.grad[opened].all()
    assert not block.down.grad[closed].any() and not block.up.grad[closed].any()
    assert gates.scores.grad.all()


def make_gates(scores: list[float]) -> Gates:
    gates = Gates(len(scores), initial=[0.15], threshold=[0.1], price=[1.0], penalty="mean")
    with torch.no_grad():
        gates.scores.copy_(torch.tensor([scores]))
    return gates


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize(
    "scores",
    [
        [0.5, -0.2, 0.3, 0.11, 0.0],
        [-3.0, -2.0, -1.0, -0.5, -0.1],
        [0.2, 0.2, 0.2, 0.2, 0.2],
        [0.1, 0.1, 0.0, 0.0, 1e8],
        [1e-9, 0.0, -1e-9, 2e-9, 0.1],
    ],
    ids=["mixed", "all closed", "equal", "at the threshold", "tiny and huge"],
)
def test_a_cut_leaves_exactly_the_highest_open(scores: list[float], count: int) -> None:
    gates = make_gates(scores)
    gates.cut(torch.tensor([count]))
    highest = sorted(range(5), key=lambda place: (-scores[place], place))[:count]
    already = sum(torch.tensor(scores) >= torch.tensor(0.1)) == count
    assert gates().sum() == count
    if not already:
        assert set(gates()[0].nonzero().flatten().tolist()) == set(highest)


def test_a_cut_takes_the_same_from_every_score() -> None:
    gates = make_gates([0.5, -0.2, 0.3, 0.11, 0.0])
    amount = gates.cut(torch.tensor([2]))
    assert amount == pytest.approx((0.3 + 0.11) / 2 - 0.1)
    expected = torch.tensor([[0.5, -0.2, 0.3, 0.11, 0.0]]) - amount
    torch.testing.assert_close(gates.scores.detach(), expected)


def test_a_cut_that_has_nothing_to_do_takes_nothing() -> None:
    gates = make_gates([0.5, -0.2, 0.3])
    assert gates.cut(torch.tensor([2])) == 0.0
    assert gates.scores.tolist() == [pytest.approx([0.5, -0.2, 0.3])]


def test_frozen_scores_have_neither_gradient_nor_price() -> None:
    gates = Gates(3, initial=[0.2, 0.2], threshold=[0.1, 0.1], price=[1.0, 1.0], penalty="sum")
    gates.fix(0, torch.tensor([True, False, True]))
    assert gates().tolist() == [[1, 0, 1], [1, 1, 1]]
    (gates.penalty().sum() + gates().sum()).backward()
    assert gates.scores.grad.tolist() == [[0, 0, 0], [2, 2, 2]]


def test_the_count_falls_from_all_to_the_budget() -> None:
    counts = [falling_count(done / 100, 32, 2) for done in range(121)]
    assert (counts[0], counts[100], counts[120]) == (32, 2, 2)
    assert counts == sorted(counts, reverse=True)
    assert counts[50] == round(2 + 30 / 8)
    assert {falling_count(done / 10, 8, 8) for done in range(12)} == {8}
