"""How a budget is met: its modes, its tolerance, the sampler that looks for its price, the confirmation."""

from pathlib import Path

import pytest

from search_spaces import Confirm, Gated, SpaceError, load_space

SPACE = """\
sweep: small
model: {library: open_clip, name: tiny-clip}
data:
  id: {source: digits}
  probes: [{source: glyphs}]
method:
  name: selective_lora
budget:
  active_blocks: 2
search:
  trials: 8
  parameters:
    method.rank: {choices: [1, 2, 4]}
"""
LAMBDA = "search.parameters={method.lambda: {low: 0.2, high: 4, log: true}}"
SET_LAMBDA = f"--set {LAMBDA}: search.parameters.method.lambda"
COUNT = "search.parameters={method.active_blocks: {choices: [1, 2]}}"
SET_COUNT = f"--set {COUNT}: search.parameters.method.active_blocks"
FOLLOWS = "where it follows from the budget; remove it, or use budget.mode: search"
ITSELF = "which chooses the open blocks itself; remove it, or use budget.mode: search"
CONTROLLED, MASK, PATH = "budget.mode=controlled", "budget.mode=mask", "budget.mode=path"
EXACTLY, BUDGET_SAMPLER = "budget.rule=exactly", "search.sampler=budget"
LINEAR = "method={name: linear}"
GRID_HOLDS = "grid holds no masks, which mode mask searches; use tpe or random, or budget.mode: search"


def file_of(folder: Path, text: str = SPACE) -> Path:
    file = folder / "space.yaml"
    file.write_text(text)
    return file


def told(folder: Path, *overrides: str) -> list[str]:
    """The lines that a person is told, without the folder."""
    with pytest.raises(SpaceError) as refusal:
        load_space(file_of(folder), overrides)
    return [line.removeprefix(f"{folder}/") for line in str(refusal.value).split("\n")]


def test_a_space_that_says_nothing_of_it_keeps_its_meaning(tmp_path: Path) -> None:
    space = load_space(file_of(tmp_path))
    assert (space.budget.mode, space.budget.tolerance, space.confirm) == ("search", 0, None)
    assert isinstance(space.method, Gated)
    assert (space.method.active_blocks, space.method.mask) == (None, None)
    assert space.search.prune


@pytest.mark.parametrize(
    "overrides",
    [
        (CONTROLLED,),
        (CONTROLLED, EXACTLY, "method={name: taps}", "search.sampler=grid", "search.parameters={}"),
        (CONTROLLED, "method.active_blocks=2", "method.ramp=1"),
        (CONTROLLED, "budget.active_blocks=null", "budget.active_fraction=0.0625"),
        (MASK, EXACTLY),
        (PATH,),
        (PATH, "method.path={counts: [8, 4, 2], dense: 0.5}", "confirm={trials: 1, seeds: 2}"),
        (PATH, "method={name: taps, path: {counts: [2]}}", "search.parameters={}"),
        (EXACTLY, "budget.tolerance=1", LAMBDA),
        (EXACTLY, "budget={active_fraction: 0.1, rule: exactly, tolerance: 40}"),
        (BUDGET_SAMPLER, LAMBDA, "search.prune=false"),
        ("method.mask=[image.0.qkv, image.7.fc2]",),
        ("method.active_blocks=2", "confirm={trials: 1, seeds: 2}"),
        (COUNT,),
        ("search.parameters={method.active_blocks: {low: 1, high: 4}}", "search.sampler=grid"),
        ("baselines=[{method: taps, each: {method.active_blocks: [1, 2]}}]",),
        ("baselines=[{method: selective_lora, set: {method.mask: [image.0.qkv]}}]",),
    ],
    ids=" ".join,
)
def test_what_goes_together_loads_and_is_kept(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    space = load_space(file_of(tmp_path), overrides)
    assert load_space(file_of(tmp_path, space.to_yaml())) == space


REFUSED = [
    # tolerance
    (
        ("budget.tolerance=1",),
        "--set budget.tolerance=1: budget.tolerance: goes with rule: exactly, got rule: at_most; "
        "leave it out, or write rule: exactly",
    ),
    (
        ("budget.tolerance=1", EXACTLY, CONTROLLED),
        "--set budget.tolerance=1: budget.tolerance: mode controlled meets the budget to the block; "
        "leave it out, or use mode: search",
    ),
    (
        ("budget.tolerance=2", EXACTLY),
        "--set budget.tolerance=2: budget.tolerance: 2 fewer than 2 would let zero active blocks be inside "
        "the budget; use at most 1",
    ),
    (
        ("budget.tolerance=-1",),
        "--set budget.tolerance=-1: budget.tolerance: must be at least 0, got -1",
    ),
    (
        ("budget.tolerance=0.5",),
        "--set budget.tolerance=0.5: budget.tolerance: expects a whole number, got 0.5",
    ),
    # modes
    (
        ("budget.mode=contrlled",),
        "--set budget.mode=contrlled: budget.mode: unknown value 'contrlled'; did you mean 'controlled'?",
    ),
    (
        (CONTROLLED, LINEAR, "search.parameters={}"),
        f"--set {CONTROLLED}: budget.mode: controlled needs gates, which linear has not; "
        "use selective_lora or taps, or mode: search",
    ),
    (
        (MASK, "method={name: random_blocks}"),
        f"--set {MASK}: budget.mode: mask needs gates, which random_blocks has not; "
        "use selective_lora or taps, or mode: search",
    ),
    ((CONTROLLED, LAMBDA), f"{SET_LAMBDA}: cannot be searched in mode controlled, {FOLLOWS}"),
    ((MASK, LAMBDA), f"{SET_LAMBDA}: cannot be searched in mode mask, {FOLLOWS}"),
    ((CONTROLLED, COUNT), f"{SET_COUNT}: cannot be searched in mode controlled, {FOLLOWS}"),
    ((MASK, COUNT), f"{SET_COUNT}: cannot be searched in mode mask, {FOLLOWS}"),
    (
        (CONTROLLED, "method.mask=[a]"),
        f"--set method.mask=[a]: method.mask: cannot be set in mode controlled, {ITSELF}",
    ),
    ((MASK, "method.mask=[a]"), f"--set method.mask=[a]: method.mask: cannot be set in mode mask, {ITSELF}"),
    (
        (MASK, "method.active_blocks=2"),
        f"--set method.active_blocks=2: method.active_blocks: cannot be set in mode mask, {ITSELF}",
    ),
    ((PATH, LAMBDA), f"{SET_LAMBDA}: cannot be searched in mode path, {FOLLOWS}"),
    (
        ("method.path={counts: [8, 2]}",),
        "--set method.path={counts: [8, 2]}: method.path: goes with budget.mode: path, got mode: search; "
        "leave it out",
    ),
    (
        (PATH, "method.path={counts: [8, 4, 1]}"),
        "--set method.path={counts: [8, 4, 1]}: method.path.counts: has 8, 4, 1, but not the budget of 2; "
        "add it, or leave counts out",
    ),
    (
        (PATH, "method.path={counts: [8, 2, 4]}"),
        "--set method.path={counts: [8, 2, 4]}: method.path.counts.2: 4 comes after 2; each number must be "
        "smaller than the one before",
    ),
    (
        (PATH, "method.path={counts: [8, 2, 2]}"),
        "--set method.path={counts: [8, 2, 2]}: method.path.counts.2: 2 comes after 2; each number must be "
        "smaller than the one before",
    ),
    ((MASK, "search.sampler=grid"), f"--set search.sampler=grid: search.sampler: {GRID_HOLDS}"),
    # the sampler budget
    (
        (BUDGET_SAMPLER,),
        f"--set {BUDGET_SAMPLER}: search.sampler: budget needs method.lambda among search.parameters, "
        "such as {low: 0.05, high: 20, log: true}",
    ),
    (
        (BUDGET_SAMPLER, MASK),
        f"--set {BUDGET_SAMPLER}: search.sampler: budget looks for a price, which mode mask does not ask; "
        "use tpe, or mode: search",
    ),
    (
        (BUDGET_SAMPLER, "method={name: lora}"),
        f"--set {BUDGET_SAMPLER}: search.sampler: budget looks for the price of gates, which lora has not; "
        "use tpe",
    ),
    *(
        (
            (BUDGET_SAMPLER, f"search.parameters={{method.lambda: {domain}}}"),
            f"--set search.parameters={{method.lambda: {domain}}}: search.parameters.method.lambda: "
            "the sampler budget needs a log range here, such as {low: 0.05, high: 20, log: true}",
        )
        for domain in ("{low: 0.2, high: 4}", "{choices: [0.2, 4]}")
    ),
    # what the method says of its open blocks
    (
        ("method.active_blocks=2", "method.mask=[a]"),
        "--set method.mask=[a]: method.mask: names the open blocks, and active_blocks counts them; "
        "remove one of the two",
    ),
    (
        ("method.mask=[a]", COUNT),
        f"{SET_COUNT}: cannot be searched beside method.mask, which names the open blocks; "
        "remove one of the two",
    ),
    *(
        (
            (f"search.parameters={{method.mask: {domain}}}",),
            f"--set search.parameters={{method.mask: {domain}}}: search.parameters.method.mask: has no range "
            "or choices; remove it, and use budget.mode: mask to search which blocks are open",
        )
        for domain in ("{choices: [a, b]}", "{low: 1, high: 2}")
    ),
    (("method.mask=[]",), "--set method.mask=[]: method.mask: must not be empty"),
    (("method.mask=a",), "--set method.mask=a: method.mask: expects a list, got 'a'"),
    (
        ("method.mask=[a, a]",),
        "--set method.mask=[a, a]: method.mask.1: 'a' is given twice; remove one of the two",
    ),
    (
        ("method.active_blocks=0",),
        "--set method.active_blocks=0: method.active_blocks: must be at least 1, got 0",
    ),
    (("method.ramp=0",), "--set method.ramp=0: method.ramp: must be above 0, got 0"),
    (("method.ramp=2",), "--set method.ramp=2: method.ramp: must be at most 1, got 2"),
    # pruning and confirmation
    (
        ("search.prune=no",),
        "--set search.prune=no: search.prune: expects true or false, got 'no'",
    ),
    (("confirm.seeds=1",), "--set confirm.seeds=1: confirm.seeds: must be at least 2, got 1"),
    (("confirm.trials=0",), "--set confirm.trials=0: confirm.trials: must be at least 1, got 0"),
    (("confirm=3",), "--set confirm=3: confirm: expects a mapping, got 3"),
    (
        ("confirm={trails: 3}",),
        "--set confirm={trails: 3}: confirm.trails: unknown key; did you mean 'trials'?",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED, ids=[" ".join(entry[0]) for entry in REFUSED])
def test_a_mistake_is_told_once_with_its_place_and_its_remedy(
    tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    assert told(tmp_path, *overrides) == [message]


def test_a_mistake_in_the_file_has_its_line(tmp_path: Path) -> None:
    text = SPACE.replace("active_blocks: 2", "active_blocks: 2\n  rule: exactly\n  tolerance: 3")
    with pytest.raises(SpaceError, match=r"space\.yaml:11: budget\.tolerance: 3 fewer than 2 would let zero"):
        load_space(file_of(tmp_path, text))


def test_a_wrong_range_of_the_price_is_told_once(tmp_path: Path) -> None:
    wrong = "search.parameters={method.lambda: {low: 4, high: 1, log: true}}"
    (line,) = told(tmp_path, BUDGET_SAMPLER, wrong)
    assert line.endswith("search.parameters.method.lambda.high: must be above low, got low 4 and high 1")


def test_a_baseline_names_its_open_blocks_or_counts_them(tmp_path: Path) -> None:
    both = "{method: taps, set: {method.mask: [a]}, each: {method.active_blocks: [1, 2]}}"
    (line,) = told(tmp_path, f"baselines=[{both}]")
    assert "baselines.0.set.method.mask: names the open blocks, and active_blocks counts them; " in line


def test_a_confirmation_has_defaults(tmp_path: Path) -> None:
    assert load_space(file_of(tmp_path), ["confirm={}"]).confirm == Confirm(trials=3, seeds=5)
