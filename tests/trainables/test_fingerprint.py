"""Equal content, equal text; anything else, another."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables import Problem
from trainables.fingerprint import fingerprint


def parts(problem: Problem) -> tuple[object, ...]:
    return problem.backbone, problem.task, problem.prompts, problem.ood, problem.probes


def test_it_is_of_the_content_and_not_of_the_object(problem: Problem) -> None:
    assert fingerprint(parts(problem)) == fingerprint(parts(problem.to("cpu")))


def test_a_bit_of_a_weight_or_of_a_picture_changes_it(problem: Problem) -> None:
    seen = {fingerprint(parts(problem))}
    weight = next(iter(problem.backbone.parameters()))
    with torch.no_grad():
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
    seen.add(fingerprint(parts(problem)))
    problem.task.val.pixels[0, 0, 0, 0] ^= 1
    seen.add(fingerprint(parts(problem)))
    seen.add(fingerprint(parts(replace(problem, probes=problem.probes * 2))))
    assert len(seen) == 4


@pytest.mark.parametrize(
    "one, other",
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (np.arange(3), np.arange(3)[::-1]),
        (("ab", "c"), ("a", "bc")),
        ((1, (2, 3)), ((1, 2), 3)),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        (None, "None"),
        (1, 1.0),
    ],
)
def test_what_differs_has_another(one: object, other: object) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)
