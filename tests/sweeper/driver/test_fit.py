"""Whether a task whose classes are numbers can be learned as a space says."""

from typing import Any

import pytest
from PIL import Image

from search_spaces import Space, parse_space
from sweeper.driver.fit import makes_prompts
from trainables import Problem, ProblemError, measure_reference, open_problem


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of the classes 0 and 1."""
    folder = tmp_path_factory.mktemp("numbers")
    for name in ("0", "1"):
        (folder / name).mkdir()
        for number in range(10):
            Image.new("RGB", (9, 9), (number, 100 * int(name), 0)).save(folder / name / f"{number}.png")
    return str(folder)


def space_of(path: str, **sections: Any) -> Space:
    sections = {"training": {"epochs": 1, "head": "fresh"}, "search": {"trials": 2}} | sections
    return parse_space(
        {
            "sweep": "numbers",
            "model": {"library": "open_clip", "name": "tiny-clip", "pretrained": "bundled"},
            "data": {
                "id": {"source": "folder", "path": path, "classes": sections.pop("classes", None)},
                "probes": sections.pop("probes", [{"source": "glyphs", "limit": 26}]),
            },
            "method": {"name": "lora", "rank": 1},
            "budget": {"active_blocks": 1},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def problem(numbers: str) -> Problem:
    return open_problem(space_of(numbers))


def test_a_fresh_head_needs_no_names(numbers: str, problem: Problem) -> None:
    space = space_of(numbers, baselines=["linear"])
    assert not makes_prompts(space)
    measured = measure_reference(problem, space)
    assert problem.prompts is None and not [name for name in measured if "id_accuracy" in name]
    assert 0 < measured["probe/glyphs"] <= 100


@pytest.mark.parametrize(
    "sections",
    [
        {"training": {"epochs": 1}},
        {"training": {"epochs": 1, "head": "prompts"}},
        {"training": {"epochs": 1, "objective": "flyp"}},
        {"baselines": ["zero_shot"]},
        {"baselines": [{"method": "full", "set": {"training.head": "prompts"}}]},
        {"search": {"trials": 2, "parameters": {"training.head": {"choices": ["fresh", "prompts"]}}}},
    ],
    ids=str,
)
def test_prompts_of_numbers_are_refused(numbers: str, sections: dict[str, Any]) -> None:
    space = space_of(numbers, **sections)
    with pytest.raises(
        ProblemError, match=r"^data\.id\.classes: '0' is a number or an id, of which no prompt ca"
    ):
        open_problem(space, makes_prompts(space))


def test_whatever_has_no_names_is_told_at_once(numbers: str) -> None:
    probe = {"source": "folder", "path": numbers, "score": "zero_shot", "name": "again"}
    space = space_of(numbers, training={"epochs": 1}, probes=[probe])
    with pytest.raises(ProblemError) as told:
        open_problem(space, makes_prompts(space))
    task, again = str(told.value).split("\n")
    assert task.startswith("data.id.classes: '0' is a number or an id")
    assert task.endswith("; or take training.head: fresh, and neither zero_shot nor flyp")
    assert again.startswith("data.probes.0.classes: '0' is a number or an id")


def test_numbers_that_are_given_as_names_are_names(numbers: str) -> None:
    space = space_of(numbers, classes=["0", "1"], training={"epochs": 1})
    named = open_problem(space, makes_prompts(space))
    assert named.prompts is not None and named.task.classes == ("0", "1")
