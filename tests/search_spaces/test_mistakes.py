"""Every kind of mistake in a space file, and what the person is told."""

from pathlib import Path

import pytest

from search_spaces import SpaceError, as_text, load_space

SPACE = """\
sweep: small
model: {library: open_clip, name: tiny-clip}
data:
  id: {source: digits}
  ood:
    - {source: digits, shift: rotated}
  probes:
    - {source: glyphs}
method:
  name: selective_lora
  rank: 4
training:
  lr: 2.0e-3
budget: {active_blocks: 2}
search:
  trials: 8
  sampler: tpe
  parameters:
    method.lambda: {low: 0.01, high: 10, log: true}
    method.rank: {choices: [1, 2, 4]}
baselines:
  - full
  - {method: lora, set: {training.lr: 5.0e-4}}
resources: {pack: auto}
"""


def messages(folder: Path, text: str, *overrides: str) -> list[str]:
    """The lines that a person is told, without the folder."""
    file = folder / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpaceError) as refusal:
        load_space(file, overrides)
    return [line.removeprefix(f"{folder}/") for line in str(refusal.value).split("\n")]


def test_the_space_without_a_mistake_loads(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    assert load_space(tmp_path / "space.yaml").sweep == "small"


MISTAKES = [
    # names
    ("sampler: tpe", "smapler: tpe", "space.yaml:17: search.smapler: unknown key; did you mean 'sampler'?"),
    ("sweep:", "swep:", "space.yaml:1: swep: unknown key; did you mean 'sweep'?"),
    (
        "  lr: 2",
        "  learning: 1\n  lr: 2",
        "space.yaml:13: training.learning: unknown key; the keys here are epochs, ",
    ),
    ("  rank: 4", "  rnk: 4", "space.yaml:11: method.rnk: unknown key; did you mean 'rank'?"),
    (
        "selective_lora",
        "selective_lra",
        "space.yaml:10: method.name: unknown value 'selective_lra'; did you mean 's",
    ),
    (
        "sampler: tpe",
        "sampler: anneal",
        "space.yaml:17: search.sampler: unknown value 'anneal'; allowed: tpe, gp, ",
    ),
    (
        "{source: glyphs}",
        "{source: glyph}",
        "space.yaml:8: data.probes.0.source: unknown value 'glyph'; did you mean",
    ),
    (
        "shift: rotated",
        "shift: rotate",
        "space.yaml:6: data.ood.0.shift: unknown value 'rotate'; did you mean 'rotat",
    ),
    (
        "open_clip",
        "openclip",
        "space.yaml:2: model.library: unknown value 'openclip'; did you mean 'open_clip'?",
    ),
    (
        "{active_blocks: 2}",
        "{active_blocks: 2, rule: 3}",
        "space.yaml:14: budget.rule: expects at_most or exactly, g",
    ),
    (
        "log: true",
        "lg: true",
        "space.yaml:19: search.parameters.method.lambda.lg: unknown key; did you mean 'log'?",
    ),
    ("  - full", "  - ful", "space.yaml:22: baselines.0.method: unknown value 'ful'; did you mean 'full'?"),
    # what is missing: the line of the mapping that lacks it
    ("  trials: 8\n", "", "space.yaml:15: search.trials: missing: how many trials to run"),
    ("  id: {source: digits}\n", "", "space.yaml:3: data.id: missing: the in-distribution task"),
    ("  name: selective_lora\n", "", "space.yaml:9: method.name: missing: one of selective_lora, lora, "),
    ("sweep: small\n", "", "space.yaml:1: sweep: missing: the sweep's name"),
    ("{source: glyphs}", "{score: zero_shot}", "space.yaml:8: data.probes.0.source: missing: the pictures"),
    ("low: 0.01, ", "", "space.yaml:19: search.parameters.method.lambda.low: missing: smallest value"),
    # types
    ("trials: 8", "trials: many", "space.yaml:16: search.trials: expects a whole number, got 'many'"),
    ("trials: 8", "trials: true", "space.yaml:16: search.trials: expects a whole number, got true"),
    ("trials: 8", "trials: 8.0", "space.yaml:16: search.trials: expects a whole number, got 8.0"),
    (
        "trials: 8",
        "trials: '8'",
        "space.yaml:16: search.trials: expects a whole number, got '8'; write it without q",
    ),
    ("lr: 2.0e-3", "lr: true", "space.yaml:13: training.lr: expects a number, got true"),
    ("lr: 2.0e-3", "lr: fast", "space.yaml:13: training.lr: expects a number, got 'fast'"),
    ("lr: 2.0e-3", "lr: .inf", "space.yaml:13: training.lr: must be a finite number, got inf"),
    ("lr: 2.0e-3", "lr: .nan", "space.yaml:13: training.lr: must be a finite number, got nan"),
    ("lr: 2.0e-3", "lr: " + "9" * 400, "space.yaml:13: training.lr: is too large, got 999"),
    ("lr: 2.0e-3", "lr: " + "9" * 5000, "space.yaml:13: training.lr: '999"),
    (
        "log: true",
        "log: yes",
        "space.yaml:19: search.parameters.method.lambda.log: expects true or false, got 'yes'",
    ),
    (
        "low: 0.01",
        "low: true",
        "space.yaml:19: search.parameters.method.lambda.low: expects a number, got true",
    ),
    (
        "low: 0.01",
        "low: .inf",
        "space.yaml:19: search.parameters.method.lambda.low: must be a finite number, got inf",
    ),
    ("sweep: small", "sweep: 2024", "space.yaml:1: sweep: expects text, got 2024; put it in quotes"),
    (
        "sweep: small",
        "sweep: a b",
        "space.yaml:1: sweep: expects at most 64 letters, digits, '_' and '-', beginning ",
    ),
    ("name: tiny-clip", "name: ''", "space.yaml:2: model.name: must not be empty"),
    ("{active_blocks: 2}", "2", "space.yaml:14: budget: expects a mapping, got 2"),
    ("training:\n  lr: 2.0e-3", "training:", "space.yaml:12: training: expects a mapping, got nothing"),
    ("\n    - {source: glyphs}", " glyphs", "space.yaml:7: data.probes: expects a list, got 'glyphs'"),
    ("\n    - {source: glyphs}", " []", "space.yaml:7: data.probes: must not be empty"),
    ("  - full", "  - 3", "space.yaml:22: baselines.0: expects a method's name or a mapping, got 3"),
    # bounds
    ("trials: 8", "trials: 0", "space.yaml:16: search.trials: must be at least 1, got 0"),
    (
        "trials: 8",
        "trials: 8\n  seed: 4294967296",
        "space.yaml:17: search.seed: must be at most 4294967295, got 4",
    ),
    ("rank: 4", "rank: 1025", "space.yaml:11: method.rank: must be at most 1024, got 1025"),
    ("rank: 4", "lambda: -1", "space.yaml:11: method.lambda: must be at least 0, got -1"),
    ("rank: 4", "alpha: 0", "space.yaml:11: method.alpha: must be above 0, got 0"),
    ("lr: 2.0e-3", "warmup: 1", "space.yaml:13: training.warmup: must be below 1, got 1"),
    (
        "rank: 4",
        "initial_score: 0.05",
        "space.yaml:11: method.initial_score: 0.05 is below the threshold 0.1",
    ),
    ("rank: 4", "blocks: []", "space.yaml:11: method.blocks: must not be empty"),
    (
        "rank: 4",
        "blocks: [qkv, qkv]",
        "space.yaml:11: method.blocks.1: 'qkv' is given twice; remove one of the two",
    ),
    (
        "rank: 4",
        "blocks: [qkv, fc3]",
        "space.yaml:11: method.blocks.1: unknown value 'fc3'; did you mean 'fc",
    ),
    (
        "{active_blocks: 2}",
        "{active_blocks: 0}",
        "space.yaml:14: budget.active_blocks: must be at least 1, got 0",
    ),
    (
        "{active_blocks: 2}",
        "{active_fraction: 0}",
        "space.yaml:14: budget.active_fraction: must be above 0, got 0",
    ),
    (
        "{active_blocks: 2}",
        "{active_fraction: 1.5}",
        "space.yaml:14: budget.active_fraction: must be at most 1, got ",
    ),
    (
        "{active_blocks: 2}",
        "{}",
        "space.yaml:14: budget: give exactly one of active_blocks and active_fraction",
    ),
    (
        "{active_blocks: 2}",
        "{active_blocks: 2, active_fraction: 0.1}",
        "space.yaml:14: budget: give exactly one of active_blocks and active_fraction",
    ),
    (
        "pack: auto",
        "pack: 0",
        "space.yaml:24: resources.pack: expects auto or a whole number of at least 1, got 0",
    ),
    (
        "pack: auto",
        "pack: many",
        "space.yaml:24: resources.pack: expects auto or a whole number of at least 1, got 'm",
    ),
    ("pack: auto", "cpus_per_trial: 0", "space.yaml:24: resources.cpus_per_trial: must be above 0, got 0"),
    (
        "pack: auto",
        "cpus_per_trial: 2, workers: 3",
        "space.yaml:24: resources.workers: 3 processes want 3 cores, and cpus_per_trial is 2; lower it, or "
        "raise cpus_per_trial",
    ),
    (
        "pack: auto",
        "minutes_per_trial: 0",
        "space.yaml:24: resources.minutes_per_trial: must be above 0, got 0",
    ),
    ("pack: auto", "custom: {gold: 0}", "space.yaml:24: resources.custom.gold: must be above 0, got 0"),
    ("pack: auto", "custom: {gold: a}", "space.yaml:24: resources.custom.gold: expects a number, got 'a'"),
    (
        "pack: auto",
        "custom: {' ': 1}",
        "space.yaml:24: resources.custom: the name of a resource must not be empty",
    ),
    (
        "pack: auto",
        "custom: {GPU: 1}",
        "space.yaml:24: resources.custom.GPU: is asked for by resources.gpus_per_trial; remove it here",
    ),
    # labels
    (
        "    - {source: digits, shift: rotated}",
        "    - {source: digits, shift: rotated}\n    - {source: digits, shift: rotated}",
        "space.yaml:7: data.ood.1: 'digits-rotated' is given twice; give one of the two another name",
    ),
    (
        "  - full",
        "  - full\n  - full",
        "space.yaml:23: baselines.1: the label 'full' is used twice; give one of the ",
    ),
    (
        "{method: lora,",
        "{method: lora, label: a/b,",
        "space.yaml:23: baselines.1.label: expects at most 64 letters",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "message"), MISTAKES, ids=[m[2][:50] for m in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_its_remedy(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    assert right in SPACE
    lines = messages(tmp_path, SPACE.replace(right, wrong, 1))
    assert [line for line in lines if line.startswith(message)], lines
    # A wrong name leaves a required one missing; every other mistake is told by itself.
    assert len(lines) == 1 or right == "sweep:", lines


PARAMETERS = [
    ("method.lambda: {low: 10, high: 1}", "method.lambda.high: must be above low, got low 10 and high 1"),
    ("method.lambda: {low: 1, high: 1}", "method.lambda.high: must be above low"),
    (
        "method.lambda: {low: 0, high: 1, log: true}",
        "method.lambda.low: must be above 0 for a log range, got 0",
    ),
    ("method.lambda: {low: 1, high: 2, log: true, step: 1}", "method.lambda.step: cannot be used with log"),
    (
        "method.lambda: {low: 1, high: 2, step: 0}",
        "method.lambda.step: must be above 0 and at most high - low = 1",
    ),
    (
        "method.lambda: {low: 1, high: 2, step: 3}",
        "method.lambda.step: must be above 0 and at most high - low = 1",
    ),
    ("method.lambda: {low: -1, high: 1}", "method.lambda.low: must be at least 0, got -1"),
    ("method.lambda: [1, 2]", "method.lambda: expects a mapping, got a list"),
    ("method.lambda: {choices: []}", "method.lambda.choices: must not be empty"),
    ("method.lambda: {choices: [1, a]}", "method.lambda.choices.1: expects a number, got 'a'"),
    (
        "method.lambda: {choices: [[1]]}",
        "method.lambda.choices.0: expects one value (text, a number, true, false or",
    ),
    (
        "method.lambda: {choices: [1, 2, 1]}",
        "method.lambda.choices.2: 1 is given twice; remove one of the two",
    ),
    ("method.lambda: {choices: [1], low: 1}", "method.lambda.low: unknown key"),
    ("method.rank: {low: 1.0, high: 8}", "method.rank.low: expects a whole number, got 1.0"),
    ("method.rank: {low: 1, high: 2048}", "method.rank.high: must be at most 1024, got 2048"),
    ("method.rank: {low: 1, high: 8, step: 0.5}", "method.rank.step: expects a whole number, got 0.5"),
    ("method.rank: {choices: [1, true]}", "method.rank.choices.1: "),
    (
        "method.penalty: {low: 0, high: 1}",
        "method.penalty: is not a number, so it has no range; list its values",
    ),
    (
        "method.penalty: {choices: [mean, sun]}",
        "method.penalty.choices.1: unknown value 'sun'; did you mean 'sum'?",
    ),
    ("method.blocks: {choices: [qkv]}", "method.blocks.choices.0: expects a list, got 'qkv'"),
    (
        "method.lamda: {low: 1, high: 2}",
        "method.lamda: unknown path for the method selective_lora; did you mean 'met",
    ),
    (
        "method.colour: {low: 1, high: 2}",
        "method.colour: unknown path for the method selective_lora; known: method.l",
    ),
    ("training.epoch: {low: 1, high: 2}", "training.epoch: unknown path; did you mean 'training.epochs'?"),
    (
        "lr: {low: 1, high: 2}",
        "lr: only paths that begin with 'method.' or 'training.' may stand here; did you mean '",
    ),
    (
        "budget.rule: {choices: [exactly]}",
        "budget.rule: only paths that begin with 'method.' or 'training.' may",
    ),
    (
        "method.threshold: {low: 0, high: 0.3}",
        "method.threshold: the initial score 0.15 is below the threshold 0.3",
    ),
    (
        "{method.threshold: {low: 0, high: 0.3}, method.initial_score: {choices: [0.4, 0.2]}}",
        "method.initial_score: the initial score 0.2 is below the threshold 0.3",
    ),
]


def with_parameters(parameters: str) -> str:
    start, end = SPACE.index("    method.lambda"), SPACE.index("baselines")
    if parameters.startswith("{"):
        return SPACE[:start].rstrip() + f" {parameters}\n" + SPACE[end:]
    return SPACE[:start] + f"    {parameters}\n" + SPACE[end:]


@pytest.mark.parametrize(("parameters", "message"), PARAMETERS, ids=[p[0] for p in PARAMETERS])
def test_a_parameter_that_cannot_be_searched_is_refused(
    tmp_path: Path, parameters: str, message: str
) -> None:
    line = 18 if parameters.startswith("{") else 19
    (told,) = messages(tmp_path, with_parameters(parameters))
    assert told.startswith(f"space.yaml:{line}: search.parameters.{message}")


def test_scores_may_start_anywhere_above_every_threshold(tmp_path: Path) -> None:
    both = "{method.threshold: {low: 0.2, high: 0.3}, method.initial_score: {low: 0.3, high: 0.4}}"
    (tmp_path / "space.yaml").write_text(with_parameters(both))
    assert list(load_space(tmp_path / "space.yaml").search.parameters) == [
        "method.threshold",
        "method.initial_score",
    ]


GRIDS = [
    (
        "training.lr: {low: 0.1, high: 1}",
        "search.parameters.training.lr: the grid sampler needs a step or choices",
    ),
    ("training.seed: {low: 0, high: 100000}", "search.sampler: the grid has 100001 points, more than 100000"),
]


@pytest.mark.parametrize(("parameters", "message"), GRIDS)
def test_a_grid_is_finite_and_small(tmp_path: Path, parameters: str, message: str) -> None:
    (told,) = messages(tmp_path, with_parameters(parameters).replace("sampler: tpe", "sampler: grid"))
    assert message in told


BASELINES = [
    (
        "{method: full, set: {training.lrr: 1}}",
        "baselines.0.set.training.lrr: unknown path; did you mean 'training.lr",
    ),
    ("{method: full, set: {training.lr: -1}}", "baselines.0.set.training.lr: must be above 0, got -1"),
    (
        "{method: full, set: {method.rank: 2}}",
        "baselines.0.set.method.rank: unknown path for the method full",
    ),
    ("{method: full, set: {data.id: 2}}", "baselines.0.set.data.id: only paths that begin with 'method.' or"),
    (
        "{method: lora, label: l, set: {method.rank: 0}}",
        "baselines.0.set.method.rank: must be at least 1, got 0",
    ),
    (
        "{method: lora, label: l, set: {method.blocks: [a]}}",
        "baselines.0.set.method.blocks.0: unknown value 'a'",
    ),
    (
        "{method: selective_lora, set: {method.threshold: 1}}",
        "baselines.0.set.method.initial_score: 0.15 is below",
    ),
]


@pytest.mark.parametrize(("baseline", "message"), BASELINES)
def test_a_baseline_changes_settings_that_it_has(tmp_path: Path, baseline: str, message: str) -> None:
    (told,) = messages(tmp_path, SPACE.replace("  - full", f"  - {baseline}"))
    assert told.startswith(f"space.yaml:22: {message}")


PACKS = [
    (
        "method.penalty: {choices: [mean, sum]}",
        "selective_lora",
        "2 trials cannot share one model with method.penalty",
    ),
    (
        "training.epochs: {low: 1, high: 2}",
        "lora",
        "2 trials cannot share one model with training.epochs; use pack: 1",
    ),
    (
        "training.lr: {low: 1, high: 2}",
        "full",
        "2 trials cannot share one model with method full; use pack: 1 or auto",
    ),
]


@pytest.mark.parametrize(("parameters", "method", "message"), PACKS)
def test_a_pack_varies_only_what_it_can(tmp_path: Path, parameters: str, method: str, message: str) -> None:
    text = with_parameters(parameters).replace("pack: auto", "pack: 2").replace("  rank: 4\n", "")
    (told,) = messages(tmp_path, text.replace("selective_lora", method))
    assert told.startswith("space.yaml:")
    assert f": resources.pack: {message}" in told


def test_every_mistake_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        SPACE.replace("digits}", "digts}", 1).replace("trials: 8", "trails: 8").replace("lr: 5.0e-4", "lr: 0")
    )
    text = text.replace("choices: [1, 2, 4]", "choices: [1, 2000]")
    assert [line.split(": ")[:2] for line in messages(tmp_path, text, "resources.pack=x")] == [
        ["space.yaml:4", "data.id.source"],
        ["space.yaml:15", "search.trials"],
        ["space.yaml:16", "search.trails"],
        ["space.yaml:20", "search.parameters.method.rank.choices.1"],
        ["space.yaml:23", "baselines.1.set.training.lr"],
        ["--set resources.pack=x", "resources.pack"],
    ]


def test_messages_speak_of_no_library(tmp_path: Path) -> None:
    for right, wrong, _ in MISTAKES:
        told = "\n".join(messages(tmp_path, SPACE.replace(right, wrong, 1))).lower()
        assert not [
            word for word in ("pydantic", "http", "input should", "valid ", "tuple", "dict") if word in told
        ]


@pytest.mark.parametrize(
    ("plain", "line", "column"), [("  lr: 2.0e-3", 13, 6), ("budget: {active_blocks: 2}", 14, 8)]
)
def test_a_space_that_only_looks_like_one_is_told_where_it_is(
    tmp_path: Path, plain: str, line: int, column: int
) -> None:
    odd = plain.replace(": ", ":\u00a0", 1)
    told = "a no-break space, which only looks like one; type a space, or use quotes"
    found = messages(tmp_path, SPACE.replace(plain, odd))
    assert found == [f"space.yaml:{line}: not YAML, column {column}: {told}"]


@pytest.mark.parametrize("name", ["20240101", "1e5", "true", "null", "0x10", "a-1"])
def test_a_name_is_text_whatever_it_looks_like(tmp_path: Path, name: str) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    assert load_space(tmp_path / "space.yaml", [as_text("sweep", name)]).sweep == name
