"""Files and overrides: what is read, what is refused before it is a space."""

from pathlib import Path

import pytest

from search_spaces import SpaceError, load_space

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"


def refusal(path: Path | str, *overrides: str) -> str:
    with pytest.raises(SpaceError) as told:
        load_space(path, overrides)
    return str(told.value)


CONTENTS = [
    (b"", ":1: the file is empty; a space begins with 'sweep: <name>'"),
    (b"# only a comment\n", ":1: the file is empty"),
    (b"- sweep\n", ":1: expects the sections of a space (sweep, model, data, method, "),
    (b"hello", "got 'hello'"),
    (b"sweep: x\nmodel: \xff\n", ":2: not UTF-8 text; save the file as UTF-8"),
    ("sweep: x".encode("utf-16"), ":1: not UTF-8 text"),
    (b"sweep: x\nmodel: a: b\n", ":2: not YAML, column 9: mapping values are not allowed here"),
    (
        b"sweep: x\nmodel:\n\tname: y\n",
        ":3: not YAML, column 1: found character '\\t' that cannot start any token",
    ),
    (b"sweep: [x\n", "not YAML, column 1: expected ',' or ']'"),
    (b"sweep: x\n---\nsweep: y\n", ":2: not YAML, column 1: expected a single document"),
    (b"sweep: x\nmodel: \x00\n", ":2: not YAML: a character that no text file should hold"),
    (b"sweep: " + b"[" * 1000, "nested too deeply"),
    (b"#" * 100_000, "larger than 65536 bytes"),
    (b"a: &x [1]\nb: *x\n", ":1: not YAML, column 4: anchors (&) and aliases (*) are not used here"),
    (b"b: *x\n", ":1: not YAML, column 4: anchors (&) and aliases (*) are not used here"),
    (b"sweep: x\nsweep: y\n", ":2: sweep: given twice, first on line 1; remove one of the two"),
    (b"sweep: x\n1: y\n", ":2: '1' is not a key; keys are plain text"),
    (b"sweep: x\n? [a]\n: y\n", ":2: a list or mapping is not a key"),
    (b"sweep: !!int x\n", ":1: sweep: 'x' cannot be read as a number"),
]


@pytest.mark.parametrize(("content", "message"), CONTENTS, ids=[c[1] for c in CONTENTS])
def test_what_is_no_space_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_bytes(content)
    assert f"{file}{message}" in refusal(file) or (message[0] != ":" and message in refusal(file))


@pytest.mark.parametrize("where", ["", "sweep: ", "sweep: x\nmodel: [", "? "])
@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir", "!!python/name:os.mkdir", "!custom", "!!binary"]
)
def test_no_tag_makes_an_object(tmp_path: Path, where: str, tag: str) -> None:
    made = tmp_path / "made"
    file = tmp_path / "space.yaml"
    file.write_text(f"{where}{tag} ['{made}']" + ("]" if "[" in where else ""))
    told = refusal(file)
    assert f"the tag '{tag}' is not allowed" in told or "is not a key" in told
    assert not made.exists()


def test_a_missing_file_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal("clip.yaml") == "clip.yaml: no such file"
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "clip_lambda.yaml").touch()
    (tmp_path / "mine.yml").touch()
    near = "no such file; did you mean 'spaces/clip_lambda.yaml'?"
    assert refusal("spaces/clip_lamda.yaml") == f"spaces/clip_lamda.yaml: {near}"
    assert refusal("clip_lambda") == f"clip_lambda: {near}"
    assert refusal("mine.yaml") == "mine.yaml: no such file; did you mean 'mine.yml'?"
    assert refusal("xyz") == "xyz: no such file; there are mine.yml, spaces/clip_lambda.yaml"
    assert refusal("spaces") == ("spaces: a directory, not a space file; there are spaces/clip_lambda.yaml")
    assert refusal("a\0b") == r"'a\x00b': cannot be read: embedded null byte"


def test_a_file_below_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "space.yaml").endswith("cannot be read: Not a directory")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_bytes(b"\xef\xbb\xbf" + SHIPPED.read_bytes())
    assert load_space(tmp_path / "space.yaml") == load_space(SHIPPED)


def test_plain_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    text = (
        SHIPPED.read_text()
        .replace("lr: 5.0e-3", "lr: 2e-3")
        .replace("sweep: clip_lambda", "sweep: 2024-01-01")
    )
    (tmp_path / "space.yaml").write_text(text.replace("- {source: glyphs,", "- {source: glyphs, name: no,"))
    space = load_space(tmp_path / "space.yaml")
    assert (space.training.lr, space.sweep, space.data.probes[0].label) == (0.002, "2024-01-01", "no")


def test_overrides_reach_every_part() -> None:
    space = load_space(
        SHIPPED,
        [
            "search.trials=64",
            "data.probes.1.name=colours",
            "data.ood=[{source: digits, shift: noisy}]",
            "search.parameters.method.lambda.high=5",
            "search.parameters.training.lr={low: 1e-4, high: 1e-2, log: true}",
            "training.lr = 1e-3",
            "budget={active_blocks: 3}",
            "resources.pack=1",
            "resources.pack=4",
            "baselines.0={method: full, label: slow}",
            "baselines.0.set.training.lr=1e-5",
        ],
    )
    assert space.search.trials == 64
    assert space.data.labels() == {"id": "digits", "ood": ["digits-noisy"], "probes": ["glyphs", "colours"]}
    assert space.search.parameters["method.lambda"].model_dump()["high"] == 5
    assert list(space.search.parameters) == ["method.lambda", "method.rank", "training.lr"]
    assert space.training.lr == 1e-3
    assert space.budget.active_blocks == 3
    assert space.resources.pack == 4
    assert space.for_baseline("slow").training.lr == 1e-5


def test_an_override_makes_the_section_that_a_file_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SHIPPED.read_text().replace("resources:", "#").replace("training: {", "training: # {"))
    space = load_space(file, ["resources.gpus_per_trial=0.5", "training.seed=3"])
    assert (space.resources.gpus_per_trial, space.training.seed, space.training.epochs) == (0.5, 3, 10)


OVERRIDES = [
    ("search.trials=0", "search.trials: must be at least 1, got 0"),
    ("search.trials=many", "search.trials: expects a whole number, got 'many'"),
    ("search.trials=", "search.trials: expects a whole number, got nothing"),
    ("search.trials=1e3", "search.trials: expects a whole number, got 1000.0"),
    ("search.trails=3", "search.trails: unknown key; did you mean 'trials'?"),
    ("serch.trials=3", "serch: unknown key; did you mean 'search'?"),
    ("search.trials.more=3", "search.trials: is 16, which has no 'more' in it"),
    (
        "data.probes.2.source=digits",
        "data.probes: is a list, which has no '2' in it; its positions are 0 to 1",
    ),
    (
        "data.probes.x.source=digits",
        "data.probes: is a list, which has no 'x' in it; its positions are 0 to 1",
    ),
    (
        "data.probes.-1.source=digits",
        "data.probes: is a list, which has no '-1' in it; its positions are 0 to 1",
    ),
    ("data.probes.0.source=glyph", "data.probes.0.source: unknown value 'glyph'; did you mean 'glyphs'?"),
    ("baselines.1.label=x", "baselines.1: is 'linear', which has no 'label' in it"),
    (
        "search.parameters.training.lr.low=1",
        "search.parameters.training.lr.high: missing: largest value, above low",
    ),
    ("search.trials", "expects path=value, such as search.trials=64"),
    ("=3", "the path '' has an empty part; write it like search.trials"),
    ("search..trials=3", "the path 'search..trials' has an empty part; write it like search.trials"),
    ("method.rank=[", "not YAML, column 2: expected the node content, but found '<stream end>'"),
    (
        "method.rank=&a 3",
        "not YAML, column 1: anchors (&) and aliases (*) are not used here; write the value out",
    ),
    (
        "method.rank=!!python/none x",
        "the tag '!!python/none' is not allowed; write plain text, numbers, lists or map",
    ),
    ("method.rank={a: 1, a: 2}", "a: given twice, first on line 1; remove one of the two"),
]


@pytest.mark.parametrize(("override", "message"), OVERRIDES, ids=[o[0] for o in OVERRIDES])
def test_a_wrong_override_is_told_under_its_own_name(override: str, message: str) -> None:
    assert refusal(SHIPPED, override).startswith(f"--set {override}: {message}")
    assert "\n" not in refusal(SHIPPED, override)


def test_a_mistake_that_an_override_mends_is_none(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SHIPPED.read_text().replace("trials: 16", "trials: 0"))
    assert "search.trials: must be at least 1" in refusal(file)
    assert load_space(file, ["search.trials=5"]).search.trials == 5


def test_the_later_override_wins_and_is_blamed() -> None:
    assert refusal(SHIPPED, "search.trials=5", "search.trials=0").startswith("--set search.trials=0: ")


def test_a_long_or_unprintable_override_stays_on_one_line() -> None:
    told = refusal(SHIPPED, "sweep=" + "x" * 5000, "model.name=\n\n")
    assert len(told.split("\n")) == 2
    assert max(map(len, told.split("\n"))) < 400
