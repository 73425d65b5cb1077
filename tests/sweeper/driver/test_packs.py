"""The pack size, chosen by measurement."""

from pathlib import Path

import pytest
import torch
from freed_memory import TENSOR, apart, only_glibc, pages, use_memory

from search_spaces import Space, load_space
from sweeper.driver import packs
from sweeper.driver.packs import choose_pack
from trainables.engine.memory import return_freed_memory
from trainables.problem import Problem, open_problem

SPACE = Path(__file__).parents[3] / "spaces" / "clip_lambda.yaml"
SMALL = ("training.batch_size=8", "baselines=[]")


def space(*overrides: str) -> Space:
    return load_space(SPACE, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def problem() -> Problem:
    return open_problem(space())


def test_a_number_is_taken_as_it_is(problem: Problem) -> None:
    assert choose_pack(problem, space("resources.pack=5"), at_once=2) == 5


def test_a_method_that_cannot_share_a_model_trains_alone(problem: Problem) -> None:
    full = space("method={name: full}", "search={trials: 8}")
    assert choose_pack(problem, full, at_once=1) == 1


@pytest.mark.parametrize(
    ("sampler", "trials", "at_once", "largest"),
    [("budget", 16, 2, 2), ("budget", 64, 1, 16), ("random", 16, 2, 8), ("random", 3, 2, 1)],
)
def test_a_sampler_that_learns_is_left_rounds_to_learn_from(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, sampler: str, trials: int, at_once: int, largest: int
) -> None:
    """Where every larger pack is faster a trial, the largest that is left is taken."""
    monkeypatch.setattr(packs, "_seconds_an_epoch", lambda problem, space, size: 1.0)
    asked = space(f"search.sampler={sampler}", f"search.trials={trials}")
    assert choose_pack(problem, asked, at_once) == largest


def test_a_larger_pack_must_be_faster(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {1: 1.0, 2: 1.6, 4: 3.1, 8: 1.0}  # A trial costs 1, 0.8, 0.775, ...
    monkeypatch.setattr(packs, "_seconds_an_epoch", lambda problem, space, size: seconds[size])
    assert choose_pack(problem, space("search.sampler=random"), at_once=1) == 2


def test_a_pack_that_does_not_fit_the_memory_is_too_large(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator itself runs out: no machine has so much memory."""

    def greedy(problem: Problem, space: Space, size: int) -> float:
        torch.empty((1 if size < 4 else 2**50,), dtype=torch.uint8)
        return 1.0

    monkeypatch.setattr(packs, "_seconds_an_epoch", greedy)
    assert choose_pack(problem, space("search.sampler=random"), at_once=1) == 2


def test_what_goes_wrong_otherwise_is_told(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(problem: Problem, space: Space, size: int) -> float:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(packs, "_seconds_an_epoch", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        choose_pack(problem, space(), at_once=1)


def test_a_real_measurement_gives_a_size_that_trains(problem: Problem) -> None:
    assert choose_pack(problem, space("search.sampler=random"), at_once=2) in (1, 2, 4, 8)


def pages_over_a_choice(problem: Problem, space: Space) -> list[int]:
    """Before, after the steps of each size, and after."""
    had: list[int] = []

    def step(problem: Problem, space: Space, size: int) -> float:
        use_memory()
        had.append(pages())
        return 1.0

    packs._seconds_an_epoch = step
    return_freed_memory()
    before = pages()
    choose_pack(problem, space, at_once=2)
    return [before, *had, pages()]


@only_glibc
def test_packs_are_measured_with_the_memory_of_the_step_before_and_leave_none(problem: Problem) -> None:
    before, *had, after = apart(pages_over_a_choice, problem, space("search.sampler=random"))
    assert len(had) == 4 and min(had) - before > 0.9 * TENSOR
    assert after - before < 0.3 * TENSOR
