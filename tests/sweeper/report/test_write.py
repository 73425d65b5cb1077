import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from made_up import baseline
from PIL import Image

import sweeper.report.write as writing
from sweeper.report import curves_frame, trials_frame, write_report
from sweeper.report.groups import groups
from sweeper.study.front import hypervolume, on_front, recommended
from sweeper.study.records import SweepRecord

FILES = ["front.csv", "front.json", "front.png", "front.tex", "index.html", "trials.csv", "trials.parquet"]


class Page(HTMLParser):
    """Tags with their attributes, the text outside scripts and styles, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = StringIO()
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append(data)
        elif self.inside != "style":
            self.text.write(data)

    @property
    def words(self) -> str:
        return " ".join(self.text.getvalue().split())


def page_of(record: SweepRecord, folder: Path, command: str | None = None) -> Page:
    return Page(write_report(record, folder, command).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["whole", "under_way", "none_feasible", "masks", "closing", "hostile"])
def test_every_file_is_written_and_nothing_else(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    record: SweepRecord = request.getfixturevalue(name)
    index = write_report(record, tmp_path / "deep" / "report")
    assert index == tmp_path / "deep" / "report" / "index.html"
    files = sorted([*FILES, "confirmed.csv"] if record.confirmations else FILES)
    assert sorted(path.name for path in index.parent.iterdir()) == files
    with Image.open(index.parent / "front.png") as picture:
        assert picture.width >= 1500
        assert picture.info["dpi"][0] >= 149
        assert len(picture.convert("RGB").resize((200, 120)).getcolors(24000) or []) > 20


def test_tables_read_back_as_the_frame(hostile: SweepRecord, tmp_path: Path) -> None:
    write_report(hostile, tmp_path)
    frame = trials_frame(hostile)
    stored = pd.read_parquet(tmp_path / "trials.parquet")
    pd.testing.assert_frame_equal(stored, frame, check_dtype=False)
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)
    assert list(table.columns) == list(frame.columns)
    assert list(table["reason"]) == list(frame["reason"].fillna(""))


def test_front_json(whole: SweepRecord, tmp_path: Path) -> None:
    write_report(whole, tmp_path)
    value = json.loads((tmp_path / "front.json").read_text(), parse_constant=pytest.fail)
    front, chosen = on_front(whole), recommended(whole)
    assert chosen is not None
    assert (value["mode"], value["tolerance"]) == ("search", 0)
    assert (value["sweep"], value["budget"], value["blocks"], value["rule"]) == (
        "clip_lambda",
        2,
        32,
        "at_most",
    )
    assert value["knee"] == chosen.key
    assert value["hypervolume"] == pytest.approx(hypervolume(whole, front))
    assert value["reference_point"] == {"id_accuracy": 0.0, "retained_accuracy": 0.0}
    assert value["reference"] == dict(whole.reference)
    assert [row["key"] for row in value["front"]] == list(whole.front)
    assert value["front"][0]["parameters"] == dict(front[0].parameters)
    assert value["front"][0]["active"] == list(front[0].active)


def test_the_front_as_csv_and_as_latex(whole: SweepRecord, tmp_path: Path) -> None:
    awkward = replace(whole, baselines=(*whole.baselines, baseline("a_b & 50%", 60.0, 3.0)))
    write_report(awkward, tmp_path)
    assert list(pd.read_csv(tmp_path / "front.csv")["key"]) == list(whole.front)
    text = (tmp_path / "front.tex").read_text()
    body = text.partition("\\midrule")[2].partition("\\bottomrule")[0].strip().splitlines()
    cells = [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in body]
    labels = [trial.label for trial in on_front(whole)] + [row.label for row in whole.baselines]
    assert [row[0].replace("\\_", "_") for row in cells[:-1]] == labels
    assert [row[3] for row in cells[: len(whole.front)]] == [
        f"{trial.metrics['id_accuracy']:.2f}" for trial in on_front(whole)
    ]
    assert body[-1].startswith(r"a\_b \& 50\%")
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1


def test_page_says_what_the_sweep_is_and_recommends_the_knee(whole: SweepRecord, tmp_path: Path) -> None:
    command = "python -m sweeper run sweeps/clip_lambda/recommended.yaml"
    page = page_of(whole, tmp_path, command)
    chosen = recommended(whole)
    assert chosen is not None
    for said in (
        "open_clip tiny-clip (bundled)",
        "at most 2 of 32 blocks (6.25 %)",
        "32 of 32 trials done",
        f"Recommended: trial {chosen.label}",
        f"{chosen.metrics['id_accuracy']:.2f} %",
        command,
        "Reference point (0, 0)",
        "loss is NaN after epoch 3",
        "validation splits alone",
    ):
        assert said in page.words
    assert [attrs["id"] for tag, attrs in page.tags if tag == "table" and "id" in attrs] == [
        "importances",
        "trials",
    ]
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr" and attrs.get("class")]
    assert len(rows) == len(whole.trials) + len(whole.baselines) + 1
    assert rows.count("knee") == 1 and rows.count("front") == len(whole.front) - 1


def test_the_confirmed_section_tells_means_pairs_and_failures(
    confirmed: SweepRecord, whole: SweepRecord, tmp_path: Path
) -> None:
    page = page_of(confirmed, tmp_path)
    table = pd.read_csv(tmp_path / "confirmed.csv")
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr"]
    assert rows.count("confirmed") == len(table) == 4
    for line in table.to_dict("records"):
        width = line["id_accuracy_half_width"]
        said = f"{line['id_accuracy']:.2f}" + (f" ± {width:.2f}" if width == width else "")
        assert said in page.words
    by_key = {trial.key: trial.label for trial in confirmed.trials}
    first, second = sorted((by_key[key] for key in confirmed.front[:2]), key=int)
    assert f"Trials {first} and {second} cannot be told apart: neither ID accuracy (" in page.words
    assert "seed 1003 : loss is NaN after epoch 2" in page.words.replace("1003:", "1003 :")
    assert "a white dot with error bars is the mean" in page.words
    plain = page_of(whole, tmp_path)
    assert "Confirmed" not in plain.words and "white dot" not in plain.words
    assert "confirmed" not in [attrs.get("id") for _, attrs in plain.tags]


def test_the_plot_marks_means_apart_from_single_runs(confirmed: SweepRecord, tmp_path: Path) -> None:
    traces = json.loads(page_of(confirmed, tmp_path).scripts[0])["front-plot"]["data"]
    by_name = {trace["name"]: trace for trace in traces if trace.get("showlegend") is not False}
    means, singles = by_name["mean, 95 % CI"], by_name["front, single runs"]
    table = pd.read_csv(tmp_path / "confirmed.csv")
    assert means["x"] == pytest.approx(list(table["forgetting"]))
    assert means["y"] == pytest.approx(list(table["id_accuracy"]))
    assert means["error_x"]["array"] == pytest.approx(list(table["forgetting_half_width"].fillna(0)))
    assert means["error_y"]["array"] == pytest.approx(list(table["id_accuracy_half_width"].fillna(0)))
    assert means["marker"]["color"] != singles["marker"]["color"]
    (link,) = [t for t in traces if t["name"] == means["name"] and t is not means]
    spots = list(zip(link["x"], link["y"], strict=True))
    assert set(spots[0::3]) <= set(zip(singles["x"], singles["y"], strict=True))
    assert spots[1::3] == list(zip(means["x"], means["y"], strict=True))


def test_the_recommended_trial_says_its_means(confirmed: SweepRecord, tmp_path: Path) -> None:
    chosen = recommended(confirmed)
    assert chosen is not None
    page = page_of(confirmed, tmp_path)
    line = pd.read_csv(tmp_path / "confirmed.csv").set_index("key").loc[chosen.key]
    said = f"Trained again with 5 other seeds: ID accuracy {line['id_accuracy']:.2f} ± "
    assert said in page.words


def test_a_controlled_sweep_says_its_mode_its_prices_and_its_closing_orders(
    closing: SweepRecord, tmp_path: Path
) -> None:
    short = on_front(closing)[0]
    few = replace(short, closing_order=short.closing_order[:3])
    trials = tuple(few if trial is short else trial for trial in closing.trials)
    page = page_of(replace(closing, trials=trials), tmp_path)
    for trial in (few, *on_front(closing)[1:]):
        order = ", ".join(name.removeprefix("image.") for name in trial.closing_order)
        assert order in page.words
        assert f"{trial.metrics['lambda']:.4g}" in page.words
    assert [tag for tag, _ in page.tags].count("details") == len(closing.front) - 1
    assert "controlled: each trial closes blocks until 2 are open" in page.words
    assert "final lambda" in page.words


def test_masks_are_shown_by_short_names(masks: SweepRecord, tmp_path: Path) -> None:
    page = page_of(masks, tmp_path)
    for trial in masks.trials[2:]:
        assert ", ".join(n.removeprefix("image.") for n in trial.parameters["method.mask"]) in page.words
    stored = pd.read_csv(tmp_path / "trials.csv").set_index("key")
    trial = masks.trials[12]
    assert stored.loc[trial.key, "method.mask"] == ", ".join(trial.parameters["method.mask"])


def test_stopped_trials_are_faint_and_told_with_their_reason(whole: SweepRecord, tmp_path: Path) -> None:
    page = page_of(whole, tmp_path)
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr"]
    assert rows.count("stopped") == 2
    assert "stopped early" in page.words and "dominated at epoch 4" in page.words
    traces = {t["name"]: t for t in json.loads(page.scripts[0])["front-plot"]["data"]}
    assert traces["stopped early"]["opacity"] < 1 and len(traces["stopped early"]["x"]) == 2
    assert any(
        "stopped early: dominated at epoch 4" in text for text in traces["stopped early"]["customdata"]
    )


def test_curves_are_written_where_there_are_some(literature: SweepRecord, tmp_path: Path) -> None:
    write_report(literature, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "curves.csv"])
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "curves.csv"), curves_frame(literature), check_dtype=False
    )
    value = json.loads((tmp_path / "front.json").read_text(), parse_constant=pytest.fail)
    front = on_front(literature)
    assert [row["curve"] for row in value["front"]] == [list(map(dict, trial.curve)) for trial in front]


def test_front_json_names_no_curve_where_none_was_measured(whole: SweepRecord, tmp_path: Path) -> None:
    write_report(whole, tmp_path)
    assert not [row for row in json.loads((tmp_path / "front.json").read_text())["front"] if "curve" in row]


def test_page_shows_each_baseline_at_its_best_and_explains_curves(
    literature: SweepRecord, whole: SweepRecord, tmp_path: Path
) -> None:
    page = page_of(literature, tmp_path)
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr" and attrs.get("class")]
    assert rows.count("best") == 14 and rows.count("baseline") == 42
    for said in ("Each baseline at its best", "WiSE-FT curve", "within 1 point of its highest"):
        assert said in page.words
        assert said not in page_of(whole, tmp_path).words


def test_the_plot_has_one_entry_a_baseline_and_the_curves_of_the_best(
    literature: SweepRecord, tmp_path: Path
) -> None:
    traces = json.loads(page_of(literature, tmp_path).scripts[0])["front-plot"]["data"]
    entries = [trace["name"] for trace in traces if trace.get("showlegend") is not False]
    assert len(entries) == len(set(entries))
    assert {group.label for group in groups(literature.baselines)} <= set(entries)
    curves = [trace for trace in traces if trace["name"] == "WiSE-FT curve"]
    assert len(curves) == len(literature.front) + 13
    assert {trace["line"]["dash"] for trace in curves} == {"dot"}
    hidden = [trace for trace in traces if trace["name"] == "WiSE-FT, others"]
    assert len(hidden) == 2 * 13 and {trace["visible"] for trace in hidden} == {"legendonly"}
    looks = [
        (trace["marker"]["symbol"], trace["marker"]["color"])
        for trace in traces
        if trace["name"] in {group.label for group in groups(literature.baselines)}
    ]
    assert len(set(looks)) == len(looks) == 14


def test_points_of_a_curve_that_are_not_finite_are_left_out(literature: SweepRecord, tmp_path: Path) -> None:
    broken = tuple(
        replace(row, curve=tuple({**point, "forgetting": float("nan")} for point in row.curve))
        for row in literature.baselines
    )
    record = replace(literature, baselines=broken)
    traces = json.loads(page_of(record, tmp_path).scripts[0], parse_constant=pytest.fail)["front-plot"][
        "data"
    ]
    assert len([t for t in traces if t["name"].startswith("WiSE-FT")]) == len(record.front)


def test_page_without_a_front_says_why(
    none_feasible: SweepRecord, under_way: SweepRecord, tmp_path: Path
) -> None:
    assert "No trial met the budget of at most 2 of 32 blocks" in page_of(none_feasible, tmp_path).words
    assert "No trial has finished yet." in page_of(under_way, tmp_path).words


def test_markup_in_a_record_stays_text(hostile: SweepRecord, tmp_path: Path) -> None:
    page = page_of(hostile, tmp_path, "run '</script><script>window.hit=1</script>'")
    kinds = [attrs.get("type") for tag, attrs in page.tags if tag == "script"]
    assert kinds == ["application/json", None, None]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    assert hostile.name in page.words and "{{ 7 * 7 }}" in page.words


def test_page_names_nothing_to_fetch(whole: SweepRecord, tmp_path: Path) -> None:
    page = page_of(whole, tmp_path)
    assert not [attrs for _, attrs in page.tags if "src" in attrs]
    assert [attrs["href"] for _, attrs in page.tags if "href" in attrs] == ["data:,"]
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'") and "connect-src" not in policy
    assert len(re.findall(r"'sha256-[^']+'", policy)) == 2


def test_figures_are_strict_json(hostile: SweepRecord, tmp_path: Path) -> None:
    figures = json.loads(page_of(hostile, tmp_path).scripts[0], parse_constant=pytest.fail)
    parameters = {
        f"{kind}-{name}" for kind in ("slice", "parallel") for name in ("id_accuracy", "forgetting")
    }
    assert set(figures) == {"front-plot", "blocks-plot", "hypervolume-plot"} | parameters
    names = [trace["name"] for trace in figures["front-plot"]["data"]]
    assert "inside budget" in names and "outside budget" in names and "pre-trained" in names
    assert not [name for name in names if "<" in name]


def test_a_failed_write_leaves_the_old_file(
    whole: SweepRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(whole, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(writing.Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        write_report(whole, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
