"""Memory that is freed: kept for the next step, and given to the system when asked."""

import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from freed_memory import TENSOR, apart, only_glibc, pages, use_memory
from made_up_probe import MadeUpProbe

from search_spaces import Space
from trainables import Problem
from trainables.engine.encoder import Encoder
from trainables.engine.measures import Split
from trainables.engine.memory import keep_freed_memory, return_freed_memory
from trainables.fine_tune import FineTune

pytestmark = only_glibc


def cleared_and_returned(kept: bool) -> tuple[int, int]:
    """Pages that the system clears for ten tensors, one after the other, and those that it then gets back."""
    if kept:
        keep_freed_memory()
    for _ in range(10):
        use_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        use_memory()
    cleared = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    had = pages()
    return_freed_memory()
    return cleared, had - pages()


def test_what_a_step_frees_is_there_for_the_next_until_it_is_given_back() -> None:
    by_itself, _ = apart(cleared_and_returned, False)
    cleared, returned = apart(cleared_and_returned, True)
    assert by_itself > 9 * TENSOR
    assert cleared < 2 * TENSOR
    assert returned > 0.9 * TENSOR


@dataclass(frozen=True)
class Appetite(MadeUpProbe):
    """Uses memory where it is measured, and fails at the third time; ``had`` are the pages before that."""

    had: list[int] = field(default_factory=list)
    name: str = "appetite"

    def accuracy(self, encoder: Encoder, split: Split) -> list[float]:
        if not self.had:
            return_freed_memory()
        self.had.append(pages())
        if len(self.had) == 3:
            raise RuntimeError("enough")
        use_memory()
        return [50.0]


def pages_of_a_trial(problem: Problem, member: dict[str, Any]) -> list[int]:
    """Before each of three epochs is measured, and after the third has failed."""
    appetite = Appetite()
    trainable = FineTune.__new__(FineTune)
    trainable.setup({"members": [member]}, replace(problem, probes=(appetite,)), {})
    states = [trainable.step()["members"][0]["state"] for _ in range(3)]
    assert states == ["running", "running", "failed"]
    return [*appetite.had, pages()]


def test_a_trial_keeps_memory_from_epoch_to_epoch_and_gives_it_back_when_it_fails(
    problem: Problem, make_space: Callable[..., Space], tmp_path: Path
) -> None:
    space = make_space("lora", epochs=3)
    member = {"key": "a", "space": space, "folder": str(tmp_path / "a")}
    first, second, third, failed = apart(pages_of_a_trial, problem, member)
    assert second - first > 0.9 * TENSOR and third - first > 0.9 * TENSOR
    assert failed - first < 0.1 * TENSOR
