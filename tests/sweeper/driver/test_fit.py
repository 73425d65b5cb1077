"""Whether a task whose classes are numbers can be learned as a space says."""

from typing import Any

import pytest
from PIL import Image

from search_spaces import Space, parse_space
from sweeper.driver.fit import check_budget, check_fit, check_steps, makes_prompts
from sweeper.errors import UserError
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


def test_heads_that_no_trial_has_are_not_asked_for(numbers: str) -> None:
    parameters = {
        "training.flip": {"choices": [True, False]},
        "training.head": {"choices": ["fresh"], "when": {"training.flip": True}},
    }
    assert not makes_prompts(space_of(numbers, search={"trials": 2, "parameters": parameters}))
    parameters["training.head"]["choices"] = ["fresh", "prompts"]
    assert makes_prompts(space_of(numbers, search={"trials": 2, "parameters": parameters}))


def several(*methods: str, **sections: Any) -> Space:
    search = {"trials": 2, "parameters": {"method.name": {"choices": ["lora", *methods]}}}
    return space_of("none", search=search, **sections)


def test_each_method_can_meet_the_budget(problem: Problem) -> None:
    with pytest.raises(UserError) as told:
        check_budget(several("codyra", budget={"active_blocks": 5}), 32)
    assert str(told.value) == (
        "search.parameters.method.name: lora opens 32 blocks, and the budget is at most 5 of 32, so "
        "none of its trials would meet it; raise it, or run lora under baselines"
    )
    assert check_budget(several("codyra", budget={"active_fraction": 1}), 32) == 32
    method, budget = {"name": "random_blocks", "active_blocks": 6}, {"active_blocks": 5}
    with pytest.raises(UserError, match=r"random_blocks opens 6 blocks, and the budget is at most 5 of 32"):
        check_budget(space_of("none", method=method, budget=budget), 32)
    with pytest.raises(UserError, match=r"random_blocks opens 2 blocks, and the budget is exactly 5 of 32"):
        check_budget(
            space_of("none", method={"name": "random_blocks"}, budget=budget | {"rule": "exactly"}), 32
        )
    searched = {"trials": 2, "parameters": {"method.active_blocks": {"choices": [2, 6]}}}
    assert check_budget(space_of("none", method=method, budget=budget, search=searched), 32) == 5
    assert check_budget(space_of("none"), 32) == 1


def test_the_model_has_what_each_method_asks_for(problem: Problem) -> None:
    every = {"active_fraction": 1}
    assert len(check_fit(several("random_blocks", budget=every), problem.backbone)) == 32
    search = {
        "trials": 2,
        "parameters": {"method.name": {"choices": ["random_blocks", "lora"]}},
    }
    method = {"name": "random_blocks", "active_blocks": 40}
    with pytest.raises(ProblemError, match="active_blocks: 40 are asked for, the model has 32"):
        check_fit(space_of("none", search=search, method=method, budget=every), problem.backbone)


def test_a_path_has_time_for_its_counts_also_in_trials_that_are_not_asked_for_their_epochs() -> None:
    epochs = {"choices": [20]}
    parameters = {"training.flip": {"choices": [True, False]}, "training.epochs": epochs}
    of_path = {"method": {"name": "selective_lora"}, "budget": {"active_blocks": 1, "mode": "path"}}

    def space() -> Space:
        return space_of("none", search={"trials": 2, "parameters": parameters}, **of_path)

    check_steps(space(), blocks=32, pictures=64)
    parameters["training.epochs"] = epochs | {"when": {"training.flip": True}}
    with pytest.raises(UserError, match=r"raise training\.epochs, or name fewer counts"):
        check_steps(space(), blocks=32, pictures=64)
