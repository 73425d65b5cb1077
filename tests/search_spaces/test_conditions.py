"""Parameters that only some trials are asked for, and methods that are searched."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from test_mistakes import messages, with_parameters

from search_spaces import Space, SpaceError, json_schema, load_space, parse_space
from search_spaces.conditions import extremes, in_order, is_asked
from search_spaces.several_methods import as_method

METHODS = "method.name: {choices: [selective_lora, lora, codyra]}"
PRICE = "method.lambda: {low: 0.01, high: 10, log: true, when: {method.name: selective_lora}}"
KAPPA = "method.kappa: {low: 1e-4, high: 0.1, log: true, when: {method.name: [codyra]}}"
SUM = "method.penalty: {choices: [mean, sum]}"
FLIP = "training.flip: {choices: [true, false]}"


def lines(*parameters: str) -> str:
    return "\n    ".join(parameters)


def of(folder: Path, *parameters: str, changes: tuple[str, ...] = ()) -> Space:
    file = folder / "space.yaml"
    file.write_text(with_parameters(lines(*parameters)))
    return load_space(file, changes)


def test_conditions_are_kept_with_the_space(tmp_path: Path) -> None:
    space = of(tmp_path, METHODS, PRICE, KAPPA)
    assert parse_space(space.dump()) == space
    assert "when:\n        method.name:\n        - codyra\n" in space.to_yaml()
    (tmp_path / "again.yaml").write_text(space.to_yaml())
    assert load_space(tmp_path / "again.yaml") == space
    assert "when" not in of(tmp_path, "method.rank: {choices: [1, 2]}").to_yaml()


def test_an_override_gives_a_condition(tmp_path: Path) -> None:
    change = "search.parameters.method.alpha.when.method.rank=[1, 2]"
    alpha = "method.alpha: {choices: [null, 8]}"
    space = of(tmp_path, "method.rank: {choices: [1, 2, 4]}", alpha, changes=(change,))
    assert space.search.parameters["method.alpha"].when == {"method.rank": (1, 2)}


def test_an_editor_is_told_of_conditions() -> None:
    schema = json_schema()["$defs"]
    for kind in ("Range", "Choices"):
        allowed = schema[kind]["properties"]["when"]["additionalProperties"]["anyOf"]
        assert [each["type"] for each in allowed] == [["string", "number", "boolean", "null"], "array"]


BAD = [
    ([SUM, "training.lr: {low: 1, high: 2, when: {method.rank: 4}}"],
     "20: {lr}.when.method.rank: is not searched, so it has one value in all trials; did you mean 'method.p"),
    ([SUM, "training.lr: {low: 1, high: 2, when: {budget.rule: exactly}}"],
     "20: {lr}.when.budget.rule: is not searched, so it has one value in all trials; searched are method.p"),
    ([SUM, "training.lr: {low: 1, high: 2, when: {method.penalt: sum}}"],
     "20: {lr}.when.method.penalt: is not searched, so it has one value in all trials; did you mean 'meth"),
    (["training.lr: {choices: [1.0, 2.0], when: {training.lr: 1.0}}"],
     "19: {lr}.when.training.lr: is the parameter itself; name another one, or leave this out"),
    (["method.rank: {low: 1, high: 4}", "training.lr: {low: 1, high: 2, when: {method.rank: 4}}"],
     "20: {lr}.when.method.rank: has a range, and a condition needs choices; list its values under choices"),
    ([SUM, "training.lr: {low: 1, high: 2, when: {method.penalty: [sum, most]}}"],
     "20: {lr}.when.method.penalty: most is not among its choices, mean, sum"),
    ([FLIP, "training.lr: {low: 1, high: 2, when: {training.flip: 1}}"],
     "20: {lr}.when.training.flip: 1 is not among its choices, true, false"),
    ([FLIP, "training.lr: {low: 1, high: 2, when: {training.flip: 'true'}}"],
     "20: {lr}.when.training.flip: 'true' is not among its choices, true, false"),
    (["method.alpha: {choices: [null, 8]}", "training.lr: {low: 1, high: 2, when: {method.alpha: 4}}"],
     "20: {lr}.when.method.alpha: 4 is not among its choices, null, 8"),
    ([SUM, "training.lr: {low: 1, high: 2, when: {method.penalty: []}}"],
     "20: {lr}.when.method.penalty: must not be empty"),
    ([SUM, "training.lr: {low: 1, high: 2, when: sum}"], "20: {lr}.when: expects a mapping, got 'sum'"),
    ([SUM, "training.lr: {low: 1, high: 2, when: {method.penalty: [sum, sum]}}"],
     "20: {lr}.when.method.penalty.1: 'sum' is given twice; remove one of the two"),
    (["method.penalty: {choices: [mean, sum], when: {training.flip: true}}",
      "training.lr: {choices: [1.0, 2.0], when: {method.penalty: sum}}",
      "training.flip: {choices: [true, false], when: {training.lr: 1.0}}"],
     "19: search.parameters.method.penalty.when: hangs on itself (method.penalty -> training.flip -> "
     "training.lr -> method.penalty), so no trial would be asked for it"),
    ([FLIP, "method.penalty: {choices: [mean, sum], when: {training.flip: true}}",
      "training.lr: {low: 1, high: 2, when: {method.penalty: sum, training.flip: false}}"],
     "21: {lr}.when: never holds: what it names is asked for at other values of training.flip only"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "told"), BAD)
def test_a_condition_that_cannot_be_used_is_refused_once(
    parameters: list[str], told: str, tmp_path: Path
) -> None:
    (message,) = messages(tmp_path, with_parameters(lines(*parameters)))
    assert message.startswith("space.yaml:" + told.replace("{lr}", "search.parameters.training.lr"))


MALFORMED = [
    ("[selective_lora, lora, codyra]", "search.parameters.method.name: expects a mapping, got"),
    ("selective_lora", "search.parameters.method.name: expects a mapping, got"),
    ("{choices: [{name: lora}]}", "search.parameters.method.name.choices.0: expects one value"),
    ("{low: 1}", "search.parameters.method.name.high: "),
]


@pytest.mark.parametrize(("name", "told"), MALFORMED)
def test_a_mistake_in_what_a_condition_names_is_said_and_nothing_else(
    name: str, told: str, tmp_path: Path
) -> None:
    (message,) = messages(tmp_path, with_parameters(lines(f"method.name: {name}", PRICE, KAPPA)))
    assert message.startswith(f"space.yaml:19: {told}")


def test_a_whole_number_is_the_same_number_with_a_point(tmp_path: Path) -> None:
    retention = "training.retention: {choices: [0.3, 1]}"
    space = of(
        tmp_path, retention, "training.flip: {choices: [true, false], when: {training.retention: 1.0}}"
    )
    assert is_asked(space.search.parameters["training.flip"], {"training.retention": 1})


REFUSED = [
    (["search.sampler=grid"], "when: the grid has every value beside every other; use the sampler tpe or"),
    (["search.sampler=gp"], "when: gp learns of parameters that all trials have, and would draw this one"),
    (["search.sampler=nsga2"], "when: nsga2 learns of parameters that all trials have, and would draw this"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED)
def test_a_sampler_that_cannot_keep_to_conditions_says_so_once(
    changes: list[str], told: str, tmp_path: Path
) -> None:
    ranks = "method.rank: {choices: [1, 2], when: {method.penalty: sum}}"
    alphas = "method.alpha: {choices: [1.0, 2.0], when: {method.penalty: mean}}"
    (message,) = messages(tmp_path, with_parameters(lines(SUM, ranks, alphas)), *changes)
    assert message.startswith(f"space.yaml:20: search.parameters.method.rank.{told}")


def test_the_price_that_the_sampler_budget_looks_for_is_asked_of_all_trials(tmp_path: Path) -> None:
    price = PRICE.replace("method.name: selective_lora", "method.penalty: sum")
    (message,) = messages(tmp_path, with_parameters(lines(SUM, price)), "search.sampler=budget")
    assert "method.lambda.when: the sampler budget looks for this price in every trial" in message
    plain = PRICE.replace(", when: {method.name: selective_lora}", "")
    rank = "method.rank: {choices: [1, 2], when: {method.penalty: sum}}"
    assert of(tmp_path, SUM, plain, rank, changes=("search.sampler=budget",)).search.sampler == "budget"


ENQUEUED = [
    ("{method.rank: 1}", "is asked for only when method.penalty is sum; give this trial that too, or leave"),
    ("{method.rank: 1, method.penalty: mean}", "is asked for only when method.penalty is sum; give this"),
    ("{method.rank: 3, method.penalty: sum}", "3 is not among what is searched of it"),
    ("{method.rank: .nan, method.penalty: sum}", "must be a finite number, got nan"),
    ("{method.rank: [1], method.penalty: sum}", "expects one value (text, a number, true, false or null), "),
]


@pytest.mark.parametrize(("values", "told"), ENQUEUED)
def test_what_is_tried_first_is_asked_for(values: str, told: str, tmp_path: Path) -> None:
    ranks = "method.rank: {choices: [1, 2], when: {method.penalty: sum}}"
    text = with_parameters(lines(SUM, ranks)).replace(
        "  parameters:", f"  enqueue: [{values}]\n  parameters:"
    )
    (message,) = messages(tmp_path, text)
    assert message.startswith(f"space.yaml:18: search.enqueue.0.method.rank: {told}")


def test_what_a_condition_allows_is_tried_first(tmp_path: Path) -> None:
    ranks = "method.rank: {choices: [1, 2], when: {method.penalty: sum}}"
    enqueue = "search.enqueue=[{method.penalty: sum, method.rank: 1}, {method.penalty: mean}]"
    assert len(of(tmp_path, SUM, ranks, changes=(enqueue,)).search.enqueue) == 2


METHOD_MISTAKES = [
    ([METHODS, "method.lambda: {low: 0.01, high: 10}"],
     "20: search.parameters.method.lambda: not every method has it; add when: {method.name: [selective"),
    ([METHODS, "method.lamda: {low: 0.01, high: 10}"],
     "20: search.parameters.method.lamda: unknown path for the method selective_lora; did you mean 'method"),
    (["method.name: {choices: [selective_lora, full]}"],
     "19: search.parameters.method.name.choices.1: full chooses no blocks, so the budget says nothing of it; "
     "run it under baselines, there at several values by each"),
    (["method.name: {choices: [selective_lora, loro]}"],
     "19: search.parameters.method.name.choices.1: unknown value 'loro'; did you mean 'lora'?"),
    (["method.name: {choices: [selective_lora, loro]}", "method.kappa: {low: 0.1, high: 1}", SUM],
     "19: search.parameters.method.name.choices.1: unknown value 'loro'; did you mean 'lora'?"),
    (["method.name: {choices: [lora, codyra]}"],
     "19: search.parameters.method.name.choices: lacks the space's own selective_lora; add it, or write "),
    (["method.name: {low: 1, high: 2}"],
     "19: search.parameters.method.name: is not a number, so it has no range; list methods under choices"),
    ([METHODS, "method.kappa: {low: -1, high: 1, when: {method.name: codyra}}"],
     "20: search.parameters.method.kappa.low: must be at least 0, got -1"),
    (["model.name: {choices: [a, b]}"],
     "19: search.parameters.model.name: cannot be searched in one sweep, for forgetting is measured against "
     "each model's own reference; give each value a sweep by `python -m sweeper run SPACE --set "
     "model.name=VALUE --name A`, and put these on one plot by `python -m sweeper report A B`"),
    (["data.id: {choices: [a, b]}"],
     "19: search.parameters.data.id: cannot be searched in one sweep"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "told"), METHOD_MISTAKES)
def test_a_method_that_cannot_be_searched_is_refused(
    parameters: list[str], told: str, tmp_path: Path
) -> None:
    (message,) = messages(tmp_path, with_parameters(lines(*parameters)))
    assert message.startswith(f"space.yaml:{told}")


def test_every_method_that_is_searched_goes_with_the_rest_of_the_space(tmp_path: Path) -> None:
    several = with_parameters(lines(METHODS, PRICE, KAPPA))
    told = messages(tmp_path, several, "budget.mode=controlled")
    assert [line.partition(": budget.mode: ")[2][:22] for line in told if "needs gates" in line] == [
        "controlled needs gates"
    ] * 2


def test_a_trial_of_another_method_has_what_both_have(tmp_path: Path) -> None:
    changes = ("method.rank=8", "method.blocks=[q, v]", "method.threshold=0.05")
    space = of(tmp_path, METHODS, PRICE, KAPPA, changes=changes)
    trial = space.with_values({"method.name": "codyra", "method.kappa": 0.01})
    own = {"name": "codyra", "rank": 8, "blocks": ["q", "v"], "kappa": 0.01, "dense": 0.5}
    assert trial.method.dump() == own | {"alpha": None, "towers": ["image"]}
    same = space.with_values({"method.name": "selective_lora", "method.lambda": 2.0})
    assert same.method.dump() == space.method.dump() | {"lambda": 2.0}
    assert parse_space(trial.dump()) == trial
    with pytest.raises(SpaceError, match="kappa"):
        space.with_values({"method.name": "lora", "method.kappa": 0.01})


def test_what_is_null_in_one_method_says_nothing_in_another(tmp_path: Path) -> None:
    space = of(tmp_path, "method.rank: {choices: [1]}")
    assert as_method(space.method, "random_blocks").dump()["active_blocks"] == 2
    five = of(tmp_path, "method.rank: {choices: [1]}", changes=("method.active_blocks=5",))
    assert as_method(five.method, "random_blocks").dump()["active_blocks"] == 5


def test_trials_of_methods_that_share_a_pack_may_be_packed(tmp_path: Path) -> None:
    assert of(tmp_path, METHODS, PRICE, KAPPA, changes=("resources.pack=4",)).packable
    assert not of(tmp_path, METHODS, "training.epochs: {low: 1, high: 2}").packable


def test_a_start_is_closed_only_where_a_trial_can_have_both(tmp_path: Path) -> None:
    low = "method.initial_score: {choices: [0.12, 0.2]}"
    high = "method.threshold: {choices: [0.1, 0.15]%s}"
    (told,) = messages(tmp_path, with_parameters(lines(low, high % "")))
    assert "the initial score 0.12 is below the threshold 0.15" in told
    assert of(tmp_path, low, high % ", when: {method.initial_score: 0.2}").search.parameters


def test_a_head_that_one_objective_lacks_is_searched_beside_the_other(tmp_path: Path) -> None:
    objective = "training.objective: {choices: [cross_entropy, flyp]}"
    rate = "training.head_lr: {low: 0.01, high: 1, log: true%s}"
    (told,) = messages(tmp_path, with_parameters(lines(objective, rate % "")))
    assert "flyp has no head" in told
    only = ", when: {training.objective: cross_entropy}"
    assert of(tmp_path, objective, rate % only).search.parameters


def test_extremes_are_the_combinations_that_trials_can_have(tmp_path: Path) -> None:
    space = of(
        tmp_path,
        "method.rank: {low: 1, high: 8, when: {method.penalty: sum}}",
        "method.penalty: {choices: [mean, sum], when: {training.flip: [true]}}",
        FLIP,
        "training.lr: {choices: [0.1, 0.2], when: {training.flip: false}}",
    )
    parameters = space.search.parameters
    order = in_order(parameters)
    assert order.index("training.flip") < order.index("method.penalty") < order.index("method.rank")
    paths = ["method.rank", "training.lr", "training.flip"]
    found = [{p: end.value for p, end in each.items()} for each in extremes(parameters, paths)]
    assert sorted(map(str, found)) == sorted(map(str, by_hand()))
    assert not is_asked(parameters["method.rank"], {"method.penalty": "mean"})


def by_hand() -> list[dict[str, Any]]:
    combinations = []
    for flip, penalty in product((True, False), ("mean", "sum")):
        if not flip:
            if penalty == "mean":  # asked of neither
                combinations += [{"training.lr": lr, "training.flip": False} for lr in (0.1, 0.2)]
        elif penalty == "mean":
            combinations.append({"training.flip": True})
        else:
            combinations += [{"method.rank": rank, "training.flip": True} for rank in (1, 8)]
    return combinations
