from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.storage.results import checked, is_there, mark, publish


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_place_is_made_and_known_by_its_whole_name(tmp_path: Path, scheme: str) -> None:
    place = f"{scheme}{tmp_path}/new/results"
    assert not is_there(place)
    assert checked(f"{place}/") == place
    assert is_there(place)


def test_a_relative_place_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked("results") == str(tmp_path / "results")
    assert checked(None) is None


@pytest.mark.parametrize("place", ["nowhere://bucket/sweeps", "/dev/null/results"])
def test_what_cannot_be_used_is_named(place: str) -> None:
    with pytest.raises(UserError, match=f"--results {place}: cannot be used: "):
        checked(place)


@pytest.mark.parametrize(
    "place",
    [
        "s3://bucket?secret_key=SECRET",
        "s3://KEY:SECRET@bucket/sweeps",
        "s3://KEY:SEC/SECRET@bucket/sweeps",
        "s3://KEY:1/SECRET@bucket",
        "s3://SECRET@bucket",
        "hdfs://me:SECRET@host:8020/sweeps",
    ],
)
def test_secrets_in_the_url_are_refused_and_not_shown(place: str) -> None:
    with pytest.raises(UserError, match=r"--results: keys and settings .* AWS_ENDPOINT_URL") as refused:
        checked(place)
    assert "SECRET" not in str(refused.value) and "KEY:" not in str(refused.value)


def test_a_mark_is_seen_while_it_is_there(tmp_path: Path) -> None:
    with mark(str(tmp_path)) as file:
        assert is_there(file) and Path(file).parent == tmp_path
    assert not is_there(file) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_is_published_over_what_is_there(tmp_path: Path, scheme: str) -> None:
    folder, place = tmp_path / "report", tmp_path / "shared" / "one" / "report"
    (folder / "deep").mkdir(parents=True)
    for text in ("old", "new"):
        (folder / "deep" / "page.html").write_text(text)
        publish(folder, f"{scheme}{place}")
        assert (place / "deep" / "page.html").read_text() == text
