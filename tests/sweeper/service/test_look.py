"""What a service shows, read from a real study."""

import io
from pathlib import Path

import pandas as pd
import pytest
from conftest import Make
from prepared import HOSTILE, OUTCOMES, end, study

from sweeper import cli
from sweeper.driver.progress import sweep_line
from sweeper.report import trials_frame
from sweeper.report.plots import front_plot
from sweeper.study.sweep_study import SweepStudy


@pytest.fixture
def read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a study is good for no time at all."""
    monkeypatch.setattr("sweeper.service.store._SECONDS", 0.0)
    monkeypatch.setattr("sweeper.service.store._SHARE", 0.0)


def test_a_sweep_is_listed_with_its_state_and_counts(sweep: SweepStudy, service: Make) -> None:
    answer = service().get("/sweeps").json()
    assert "no Ray cluster answers" in answer["notice"]
    (line,) = answer["sweeps"]
    assert line["line"] == sweep_line(sweep.record())
    assert (line["name"], line["state"]) == ("clip_lambda", "interrupted")
    assert line["counts"] == {
        "done": 6, "total": 9, "running": 1, "failed": 1, "pruned": 0, "inside": 3, "front": 2
    }  # fmt: skip


def test_a_sweep_is_shown_with_its_front_what_runs_and_what_failed(sweep: SweepStudy, service: Make) -> None:
    shown = service().get("/sweeps/clip_lambda").json()
    assert [run["label"] for run in shown["front"]] == ["0", "1"]
    assert [run["id_accuracy"] for run in shown["front"]] == ["80.00", "70.00"]
    assert [run["knee"] for run in shown["front"]].count(True) == 1
    assert [run["key"] for run in shown["running"]] == ["trial-0005"]
    assert [run["reason"] for run in shown["failed"]] == [HOSTILE]


def test_the_status_is_what_the_command_prints(
    sweep: SweepStudy, service: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["sweeper", "status", "clip_lambda"])
    with pytest.raises(SystemExit):
        cli.main()
    *printed, left = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert left == "no driver runs; go on with: python -m sweeper resume clip_lambda"
    status = service().get("/sweeps/clip_lambda").json()["status"]
    assert [line.strip() for line in status.splitlines()] == printed


def test_the_plot_has_every_measured_trial_once(sweep: SweepStudy, service: Make) -> None:
    figure = service().get("/sweeps/clip_lambda/front").json()["figure"]
    traces = {trace["name"]: trace for trace in figure["data"]}
    groups = [traces[name] for name in ("outside budget", "inside budget", "front")]
    points = {pair for trace in groups for pair in zip(trace["y"], trace["x"], strict=True)}
    # The trial under way has figures already, and is not on the plot before it has ended.
    assert points == {outcome[:2] for outcome in OUTCOMES}
    assert traces["front"]["x"] == [1.0, 5.0]
    assert traces["full"]["y"] == [96.0]
    assert figure == front_plot(sweep.record()).to_plotly_json()


def test_the_table_is_that_of_the_report(sweep: SweepStudy, service: Make) -> None:
    client = service()
    text = client.get("/sweeps/clip_lambda/trials.csv").text
    expected = io.StringIO(trials_frame(sweep.record()).to_csv(index=False))
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text)), pd.read_csv(expected))
    assert client.get("/sweeps/clip_lambda/report/trials.csv").text == text


def test_what_has_not_changed_is_not_sent_again(sweep: SweepStudy, service: Make) -> None:
    client = service()
    for path in ("/sweeps", "/sweeps/clip_lambda", "/sweeps/clip_lambda/front"):
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.usefixtures("read_at_once")
def test_a_new_trial_is_seen_and_a_restart_forgets_nothing(sweep: SweepStudy, service: Make) -> None:
    client = service()
    path = "/sweeps/clip_lambda/front"
    before = client.get(path)
    end(sweep, 85.0, 4.0, 2)
    after = client.get(path, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    traces = {trace["name"]: trace for trace in after.json()["figure"]["data"]}
    assert traces["front"]["y"] == [70.0, 85.0]
    assert service().get(path).json() == after.json()


def test_the_report_is_written_where_drivers_do_not_write(
    sweep: SweepStudy, service: Make, place: Path
) -> None:
    client = service()
    page = client.get("/sweeps/clip_lambda/report")
    assert page.status_code == 200 and page.text.startswith("<!doctype html>")
    assert "sandbox" in page.headers["content-security-policy"]
    assert HOSTILE not in page.text
    assert client.get("/sweeps/clip_lambda/report/front.png").content.startswith(b"\x89PNG")
    assert not (place / "sweeps" / "clip_lambda" / "report").exists()
    written = (place / "service" / "reports" / "clip_lambda" / "index.html").stat().st_mtime_ns
    client.get("/sweeps/clip_lambda/report")
    assert (place / "service" / "reports" / "clip_lambda" / "index.html").stat().st_mtime_ns == written


@pytest.mark.parametrize("file", ["..%2f..%2fsweep.json", "%2e%2e", "%2e%2e%2fsweep.json", "x", "%00"])
def test_nothing_but_a_report_is_served_from_its_folder(file: str, sweep: SweepStudy, service: Make) -> None:
    answer = service().get(f"/sweeps/clip_lambda/report/{file}")
    assert answer.status_code in (404, 405)
    assert "storage" not in answer.text


@pytest.mark.parametrize(
    "name", ["%2e%2e", "..%2f..%2fetc", "a%2fb", "a%00b", "a%0a", "-a", "a b", "x" * 65, "%3Cscript%3E"]
)
@pytest.mark.parametrize("rest", ["", "/front", "/report", "/trials.csv", "/logs"])
def test_a_name_that_is_none_is_refused(name: str, rest: str, sweep: SweepStudy, service: Make) -> None:
    answer = service().get(f"/sweeps/{name}{rest}")
    assert answer.status_code in (404, 422)
    assert "<script>" not in answer.text or answer.headers["content-type"] == "application/json"


def test_a_name_that_nobody_has_is_told_with_the_nearest(sweep: SweepStudy, service: Make) -> None:
    answer = service().get("/sweeps/clip_lamda")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "there is no sweep 'clip_lamda'; did you mean 'clip_lambda'?"}


def test_all_sweeps_of_a_database_are_shown(service: Make, place: Path) -> None:
    url = f"sqlite:///{place}/studies.db"
    for name in ("one", "two"):
        study(name, url=url)
    client = service(storage=url)
    assert [line["name"] for line in client.get("/sweeps").json()["sweeps"]] == ["one", "two"]
    assert client.get("/sweeps/two").json()["counts"]["front"] == 2


def test_a_storage_that_does_not_answer_is_said_without_its_password(service: Make) -> None:
    client = service(storage="postgresql+psycopg://me:secret-word@127.0.0.1:9/sweeps")
    for path in ("/sweeps", "/sweeps/clip_lambda", "/sweeps/clip_lambda/front"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "127.0.0.1:9" in answer.json()["detail"] and "secret-word" not in answer.text


@pytest.mark.usefixtures("read_at_once")
def test_a_sweep_of_which_more_is_asked_is_read_anew(sweep: SweepStudy, service: Make) -> None:
    client = service()
    assert client.get("/sweeps/clip_lambda").json()["counts"]["total"] == 9
    sweep.asked = 20
    assert client.get("/sweeps/clip_lambda").json()["counts"]["total"] == 21


def test_without_ray_nothing_is_started_and_it_is_said(sweep: SweepStudy, service: Make) -> None:
    client = service()
    for answer in (client.post("/sweeps/clip_lambda/resume"), client.delete("/sweeps/clip_lambda")):
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("no Ray cluster answers")
