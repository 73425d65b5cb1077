"""Spaces that are sent to a service: safely read, and refused as the command line refuses them."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import Make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prepared import SPACE

from search_spaces import SpaceError, load_space
from sweeper.service import spaces
from sweeper.study.sweep_study import SweepStudy

YAML = {"Content-Type": "application/yaml"}
TEXT = SPACE.read_text()
SOUND = yaml.safe_load(TEXT)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
#: A sound space in which one section, or a setting in one, is anything.
nearly = st.builds(
    lambda section, value: {**SOUND, section: value}, st.sampled_from(sorted(SOUND)), nested
) | st.builds(
    lambda section, key, value: {**SOUND, section: {**SOUND[section], key: value}},
    st.sampled_from(sorted(name for name in SOUND if isinstance(SOUND[name], dict))),
    st.text(max_size=8) | st.sampled_from(["name", "path", "parameters", "probes", "trials", "sampler"]),
    nested,
)
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    "changed",
    [
        ("sampler: budget", "smapler: budget"),
        ("search:", "search: !!python/object:os.system\n  x:"),
        ("method:", "method: &anchor"),
        ("sweep: clip_lambda", "sweep: ../../etc/cron"),
        ("sweep: clip_lambda", "sweep: <script>alert(1)</script>"),
        ("sweep: clip_lambda", 'sweep: "a\\0b"'),
        ("sweep: clip_lambda", "sweep: [1, 2"),
        ("sweep: clip_lambda", "\t- x"),
    ],
)
def test_a_mistake_is_told_as_the_command_line_tells_it(
    changed: tuple[str, str], service: Make, place: Path
) -> None:
    assert changed[0] in TEXT
    text = TEXT.replace(*changed, 1)
    (place / "space.yaml").write_text(text)
    with pytest.raises(SpaceError) as told:
        load_space("space.yaml")
    answer = service().post("/sweeps", content=text, headers=YAML)
    assert (answer.status_code, answer.json()["detail"]) == (422, str(told.value))
    assert not (place / "service").exists()


def test_no_python_object_is_made(service: Make, place: Path) -> None:
    mark = place / "made"
    path = f"!!python/object/apply:pathlib.Path ['{mark}']"
    text = f"{TEXT}\nextra: !!python/object/apply:pathlib.Path.touch [{path}]\n"
    answer = service().post("/sweeps", content=text, headers=YAML)
    assert answer.status_code == 422 and "tag" in answer.json()["detail"]
    assert not mark.exists()


def test_json_is_as_good_as_yaml(place: Path) -> None:
    assert (
        spaces.read_json(json.dumps(SOUND).encode()) == spaces.read_yaml(TEXT.encode()) == load_space(SPACE)
    )


@pytest.mark.parametrize("text", ["{", "", "NaN", "[" * 60_000, "9" * 60_000, "[]", '"x"', '"\\ud800"'])
def test_what_is_no_space_in_json_is_refused(text: str, service: Make) -> None:
    answer = service().post("/sweeps", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["detail"]


def test_other_kinds_of_content_are_refused(service: Make) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "", "application/xml"):
        answer = service().post("/sweeps", content=TEXT, headers={"Content-Type": kind})
        assert answer.status_code == 415 and "application/yaml" in answer.json()["detail"]


def test_a_kept_space_is_the_one_that_was_sent(place: Path) -> None:
    sent = spaces.read_yaml(TEXT.encode())
    assert load_space(spaces.keep(sent, place / "spaces")) == sent
    assert spaces.kept(place / "spaces") == ["clip_lambda"]


def test_a_taken_name_is_refused_with_the_remedy(sweep: SweepStudy, service: Make) -> None:
    answer = service().post("/sweeps", content=TEXT, headers=YAML)
    assert answer.status_code == 409
    assert "resume clip_lambda" in answer.json()["detail"] and "another name" in answer.json()["detail"]


@fuzz
@given(value=nested | nearly)
def test_no_space_breaks_the_service(value: object, service: Make) -> None:
    """A sound space would be refused with 503, as no Ray answers here."""
    client = service(rate=1e6)
    text = json.dumps(value)
    for kind in ("application/json", "application/yaml"):
        answer = client.post("/sweeps", content=text, headers={"Content-Type": kind})
        assert answer.status_code in (413, 422) or (
            answer.status_code == 503 and answer.json()["detail"].startswith("no Ray cluster answers")
        )


@fuzz
@given(text=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_break_the_service(text: bytes, service: Make) -> None:
    client = service(rate=1e6)
    for kind in ("application/json", "application/yaml"):
        answer = client.post("/sweeps", content=text, headers={"Content-Type": kind})
        assert answer.status_code == 422 and answer.json()["detail"]
