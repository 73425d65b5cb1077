"""What a model, a method, an objective and a probe ask of each other, and what the person is told."""

from pathlib import Path

import pytest

from search_spaces import SpaceError, load_space
from search_spaces.method import METHODS

SPACE = """\
sweep: small
model: {library: timm, name: tiny-dino}
data:
  id: {source: digits}
  probes:
    - source: glyphs
      score: knn
    - source: pairs
      path: pairs.csv
      score: retrieval
method:
  name: lora
  towers: [image]
training:
  objective: cross_entropy
  head: fresh
budget: {active_blocks: 2}
search:
  trials: 8
  parameters:
    method.rank: {choices: [1, 2, 4]}
baselines:
  - full
  - {method: lora, label: other, set: {training.lr: 5.0e-4}}
"""
CLIP = "model={library: open_clip, name: tiny-clip}"
ONE_PROBE = "data.probes=[{source: glyphs, score: knn}]"


def file_of(folder: Path, text: str) -> Path:
    file = folder / "space.yaml"
    file.write_text(text)
    return file


def told(folder: Path, text: str, *overrides: str) -> list[str]:
    """The lines that a person is told, without the folder."""
    file = file_of(folder, text)
    with pytest.raises(SpaceError) as refusal:
        load_space(file, overrides)
    return [line.removeprefix(f"{folder}/") for line in str(refusal.value).split("\n")]


@pytest.mark.parametrize(
    "overrides",
    [
        (ONE_PROBE,),
        (CLIP,),
        (CLIP, "training.objective=flyp", "training.head=null", "method.towers=[image, text]"),
        (CLIP, "training.objective=flyp", "training.head=null", "method.towers=[text]"),
        (CLIP, "training.head=prompts", "baselines=[linear, zero_shot, lp_ft]"),
        (ONE_PROBE, "data.probes.0.score=head"),
        (ONE_PROBE, "data.probes.0.score=linear"),
        (
            CLIP,
            "training.objective=flyp",
            "training.head=null",
            "baselines=[{method: linear, set: {training.objective: cross_entropy}}]",
        ),
        (
            CLIP,
            "baselines=[{method: full, set: {training.objective: flyp, training.head: null, "
            "method.towers: [image, text]}}]",
        ),
        (CLIP, "search.parameters={training.head: {choices: [fresh, prompts]}}"),
        (
            CLIP,
            "training.head=null",
            "baselines=[]",
            "search.parameters={training.objective: {choices: [cross_entropy, flyp]}}",
        ),
    ],
    ids=lambda overrides: " ".join(overrides)[:70],
)
def test_what_agrees_loads(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    load_space(file_of(tmp_path, SPACE), overrides)


NEEDS_TEXT = "needs a text tower, which a timm model has not; use"
NO_HEAD = "flyp has no head, its text tower names the classes; leave it out"
NO_HEAD_RATE = "flyp has no head that would learn at this rate; leave it out"
SLOW = (
    "float16 is many times as slow as float32 on a processor; use bfloat16 or float32, or give a trial a GPU "
    "by resources.gpus_per_trial"
)
NO_PARTS = "flyp compares all pictures of a step, which has no parts; leave it out"
NO_PARTS_OF_NEIGHBOURS = (
    "training.neighbors looks at all pictures of a step, which has no parts; leave it out"
)
NO_LABELS = "flyp pairs pictures with sentences and has no labels that it would change; leave it out"
NO_TEXT_TOWER = "a timm model has no text tower; use [image]"
FLYP_ONLY = "the text tower is trained by training.objective: flyp only"
OTHER_PROBE = f"{NEEDS_TEXT} knn, linear or head"
NO_TEXT = f"{NEEDS_TEXT} a CLIP, or leave it out"


def unheaded(method: str) -> str:
    return f"flyp has no head, which {method} trains; use training.objective: cross_entropy with it"


# (what is changed in the file, overrides, what is told)
FILE = [
    # probes
    ((), (), [f"space.yaml:10: data.probes.1.score: retrieval {OTHER_PROBE}"]),
    (
        (("score: knn", "score: zero_shot"),),
        (),
        [
            f"space.yaml:7: data.probes.0.score: zero_shot {OTHER_PROBE}",
            f"space.yaml:10: data.probes.1.score: retrieval {OTHER_PROBE}",
        ],
    ),
    (
        (("      score: knn\n", ""),),
        (),
        [
            f"space.yaml:6: data.probes.0.score: zero_shot {OTHER_PROBE}",
            f"space.yaml:9: data.probes.1.score: retrieval {OTHER_PROBE}",
        ],
    ),
    (
        (("score: knn", "score: head"),),
        (CLIP,),
        [
            "space.yaml:7: data.probes.0.score: head needs a model with a classifier of its own, "
            "which a CLIP has not; use zero_shot"
        ],
    ),
    # the text tower
    (
        (("[image]", "[image, text]"), ("  - full\n", "")),
        (CLIP,),
        [f"space.yaml:13: method.towers: {FLYP_ONLY}"],
    ),
    (
        (("[image]", "[image, text]"),),
        (ONE_PROBE,),
        [f"space.yaml:13: method.towers: {FLYP_ONLY}", f"space.yaml:13: method.towers: {NO_TEXT_TOWER}"],
    ),
    # objectives and heads
    (
        (("fresh", "prompts"),),
        (ONE_PROBE, "baselines=[]"),
        [f"space.yaml:16: training.head: prompts {NO_TEXT}"],
    ),
    (
        (("cross_entropy", "flyp"), ("  head: fresh\n", "")),
        (ONE_PROBE, "baselines=[]"),
        [f"space.yaml:15: training.objective: flyp {NO_TEXT}"],
    ),
    (
        (("cross_entropy", "flyp"),),
        (CLIP, "baselines=[]"),
        [f"space.yaml:16: training.head: {NO_HEAD}"],
    ),
    (
        (("cross_entropy", "flyp"), ("  head: fresh\n", "  mixup: 0.2\n  label_smoothing: 0.1\n")),
        (CLIP, "baselines=[]"),
        [
            f"space.yaml:16: training.mixup: {NO_LABELS}",
            f"space.yaml:17: training.label_smoothing: {NO_LABELS}",
        ],
    ),
    (
        (("cross_entropy", "flyp"), ("  head: fresh\n", "  accumulate: 4\n")),
        (CLIP, "baselines=[]"),
        [f"space.yaml:16: training.accumulate: {NO_PARTS}"],
    ),
    (
        (("  head: fresh\n", "  neighbors: 1\n  accumulate: 4\n"),),
        (CLIP, "baselines=[]"),
        [f"space.yaml:17: training.accumulate: {NO_PARTS_OF_NEIGHBOURS}"],
    ),
    (
        (("  head: fresh\n", "  neighbors: 1\n  batch_size: 2\n"),),
        (CLIP, "baselines=[]"),
        [
            "space.yaml:17: training.batch_size: training.neighbors has no neighbours to keep among 2; "
            "use at least 3"
        ],
    ),
    # a processor's precision
    (
        (("  head: fresh\n", "  precision: float16\n"),),
        (CLIP, "baselines=[]"),
        [f"space.yaml:16: training.precision: {SLOW}"],
    ),
    (
        (("training.lr: 5.0e-4", "training.precision: float16"),),
        (CLIP,),
        [f"space.yaml:24: baselines.1.set.training.precision: {SLOW}"],
    ),
    (
        (
            ("cross_entropy", "flyp"),
            ("  head: fresh\n", ""),
            ("  name: lora\n  towers: [image]", "  name: linear"),
        ),
        (CLIP, "baselines=[]", "search.parameters={}"),
        [f"space.yaml:14: training.objective: {unheaded('linear')}"],
    ),
    # methods
    (
        (("  name: lora\n  towers: [image]", "  name: zero_shot"),),
        (ONE_PROBE, "baselines=[]", "search.parameters={}"),
        [f"space.yaml:12: method.name: zero_shot {NEEDS_TEXT} linear"],
    ),
    # baselines: where they say it, or else the baseline
    (
        (("  - full", "  - zero_shot"),),
        (ONE_PROBE,),
        [f"space.yaml:23: baselines.0: zero_shot {NEEDS_TEXT} linear"],
    ),
    (
        (("training.lr: 5.0e-4", "training.objective: flyp, training.head: null"),),
        (ONE_PROBE,),
        [f"space.yaml:24: baselines.1.set.training.objective: flyp {NO_TEXT}"],
    ),
    (
        (("set: {training.lr: 5.0e-4}", "each: {training.head: [fresh, prompts]}"),),
        (ONE_PROBE,),
        [f"space.yaml:24: baselines.1.each.training.head: prompts {NO_TEXT}"],
    ),
    (
        (("training.lr: 5.0e-4", "method.towers: [image, text]"),),
        (CLIP,),
        [f"space.yaml:24: baselines.1.set.method.towers: {FLYP_ONLY}"],
    ),
    (
        (("cross_entropy", "flyp"), ("  head: fresh\n", ""), ("  - full", "  - lp_ft")),
        (CLIP,),
        [f"space.yaml:22: baselines.0: {unheaded('lp_ft')}"],
    ),
    # what is searched
    (
        (("method.rank: {choices: [1, 2, 4]}", "training.head: {choices: [fresh, prompts]}"),),
        (ONE_PROBE,),
        [f"space.yaml:21: search.parameters.training.head.choices.1: prompts {NO_TEXT}"],
    ),
    (
        (("method.rank: {choices: [1, 2, 4]}", "training.objective: {choices: [cross_entropy, flyp]}"),),
        (CLIP,),
        [f"space.yaml:21: search.parameters.training.objective.choices.1: {NO_HEAD}"],
    ),
    # the head's rate
    (
        (("  head: fresh", "  head_lr: 0.1"), ("cross_entropy", "flyp")),
        (CLIP, "baselines=[]"),
        [f"space.yaml:16: training.head_lr: {NO_HEAD_RATE}"],
    ),
    (
        (
            ("  head: fresh\n", ""),
            ("cross_entropy", "flyp"),
            ("method.rank: {choices: [1, 2, 4]}", "training.head_lr: {choices: [null, 0.1]}"),
        ),
        (CLIP, "baselines=[]"),
        [f"space.yaml:20: search.parameters.training.head_lr.choices.1: {NO_HEAD_RATE}"],
    ),
]


@pytest.mark.parametrize(("changes", "overrides", "lines"), FILE, ids=[str(entry[2])[:90] for entry in FILE])
def test_a_disagreement_is_named_with_its_line_and_its_remedy(
    tmp_path: Path, changes: tuple[tuple[str, str], ...], overrides: tuple[str, ...], lines: list[str]
) -> None:
    text = SPACE
    for right, wrong in changes:
        assert right in text
        text = text.replace(right, wrong, 1)
    assert told(tmp_path, text, *overrides) == lines


OVERRIDES = [
    ("training.head=prompts", f"training.head: prompts {NO_TEXT}"),
    ("training.objective=flyp", f"training.objective: flyp {NO_TEXT}"),
    ("method.towers=[text]", f"method.towers: {NO_TEXT_TOWER}"),
    ("data.probes.0.score=zero_shot", f"data.probes.0.score: zero_shot {OTHER_PROBE}"),
    ("baselines=[zero_shot]", f"baselines.0: zero_shot {NEEDS_TEXT} linear"),
]


@pytest.mark.parametrize(("override", "message"), OVERRIDES, ids=[entry[0] for entry in OVERRIDES])
def test_an_override_that_disagrees_is_named(tmp_path: Path, override: str, message: str) -> None:
    assert f"--set {override}: {message}" in told(tmp_path, SPACE, ONE_PROBE, override)


def test_the_library_decides_and_not_the_order(tmp_path: Path) -> None:
    """A CLIP's space, turned to timm on the command line."""
    clip = SPACE.replace("timm, name: tiny-dino", "open_clip, name: tiny-clip").replace("fresh", "prompts")
    load_space(file_of(tmp_path, clip))
    lines = told(tmp_path, clip, "model.library=timm", "model.name=tiny-dino")
    assert f"space.yaml:16: training.head: prompts {NO_TEXT}" in lines
    assert f"space.yaml:10: data.probes.1.score: retrieval {OTHER_PROBE}" in lines


def test_disagreements_are_told_beside_other_mistakes(tmp_path: Path) -> None:
    text = SPACE.replace("trials: 8", "trials: many").replace("      score: knn\n", "")
    assert [line.split(": ")[1] for line in told(tmp_path, text)] == [
        "data.probes.0.score",
        "data.probes.1.score",
        "search.trials",
    ]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "zero_shot"])
def test_every_method_that_trains_goes_with_either_library(tmp_path: Path, method: str) -> None:
    overrides = (f"method={{name: {method}}}", "search.parameters={}", "baselines=[]", ONE_PROBE)
    for library in ((), (CLIP,)):
        assert load_space(file_of(tmp_path, SPACE), (*overrides, *library)).method.name == method


def test_a_path_into_a_setting_is_not_taken_for_the_setting(tmp_path: Path) -> None:
    wrong = SPACE.replace("training.lr: 5.0e-4", "training.head.start: prompts")
    (line,) = told(tmp_path, wrong, ONE_PROBE)
    assert line.startswith("space.yaml:24: baselines.1.set.training.head.start: unknown path")
