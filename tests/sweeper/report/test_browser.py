"""The page in a real browser."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweeper.report import write_report
from sweeper.report.words import UNKNOWN
from sweeper.study.records import SweepRecord

pytestmark = pytest.mark.slow


@dataclass
class Visit:
    """An open page, what it complained about and what it asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def visit(browser: Any, index: Path, width: int = 1280) -> Visit:
    page = browser.new_page(viewport={"width": width, "height": 900})
    seen = Visit(page)
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(index.as_uri(), timeout=60_000)
    return seen


def column(page: Any, heading: str) -> list[str]:
    names = page.locator("#trials thead th").all_inner_texts()
    position = [" ".join(name.split()) for name in names].index(heading) + 1
    texts: list[str] = page.locator(f"#trials tbody td:nth-child({position})").all_inner_texts()
    return texts


def click(page: Any, heading: str) -> None:
    page.locator("#trials thead button").filter(has_text=heading).first.click()


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("whole", 1280),
        ("whole", 400),
        ("literature", 1280),
        ("literature", 400),
        ("closing", 1280),
        ("closing", 400),
        ("masks", 400),
        ("hostile", 1280),
        ("hostile", 400),
        ("none_feasible", 400),
        ("under_way", 400),
    ],
)
def test_page_opens_without_complaint_or_request_and_runs_nothing_foreign(
    browser: Any, name: str, width: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    index = write_report(request.getfixturevalue(name), tmp_path, "python -m sweeper run x.yaml")
    seen = visit(browser, index, width)
    plots = seen.page.locator(".plot").count()
    if plots:
        seen.page.wait_for_selector(".plot .main-svg")
    seen.page.wait_for_timeout(300)
    assert seen.complaints == []
    assert seen.requests == [index.as_uri()]
    assert seen.page.evaluate("typeof window.hit") == "undefined"
    assert seen.page.locator("img").count() == 0
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.page.close()


def test_every_group_is_drawn_and_hover_tells_the_trial(
    browser: Any, whole: SweepRecord, tmp_path: Path
) -> None:
    page = visit(browser, write_report(whole, tmp_path)).page
    page.wait_for_selector("#hypervolume-plot .scatterlayer path.js-line")
    drawn = page.locator("#front-plot .scatterlayer path.point").count()
    complete = [row for row in whole.trials if row.state in ("complete", "pruned")]
    assert drawn == len(complete) + len(whole.baselines) + 2  # the pre-trained point and the ring
    legend = page.locator("#front-plot .legendtext").all_text_contents()
    assert {"front", "inside budget", "outside budget", "full", "linear", "pre-trained"} <= set(legend)
    label = next(row.label for row in whole.trials if row.key == whole.front[0])
    page.evaluate(
        """() => {
            const plot = document.getElementById("front-plot");
            const front = plot.data.findIndex((trace) => trace.name === "front");
            Plotly.Fx.hover(plot, [{ curveNumber: front, pointNumber: plot.data[front].x.length - 1 }]);
        }"""
    )
    text = page.locator("#front-plot .hoverlayer").text_content()
    assert f"trial {label}" in text and "method.lambda" in text and "active blocks" in text
    assert page.locator(".card").count() == len(whole.front) + 1
    page.close()


def test_a_click_on_a_heading_sorts(browser: Any, whole: SweepRecord, tmp_path: Path) -> None:
    page = visit(browser, write_report(whole, tmp_path)).page
    click(page, "ID acc")
    known = [float(text) for text in column(page, "ID acc") if text != UNKNOWN]
    assert known == sorted(known) and len(known) > 30
    click(page, "ID acc")
    known = [float(text) for text in column(page, "ID acc") if text != UNKNOWN]
    assert known == sorted(known, reverse=True)
    click(page, "test acc")
    texts = column(page, "test acc")
    assert texts.index(UNKNOWN) == len(texts) - texts.count(UNKNOWN)
    click(page, "trial")
    labels = column(page, "trial")
    numbers = [int(text) for text in labels if text.isdecimal()]
    assert numbers == list(range(len(whole.trials)))
    assert labels[len(numbers) :] == sorted(labels[len(numbers) :])
    page.close()


def test_hover_on_a_curve_tells_the_run_and_the_mix(
    browser: Any, literature: SweepRecord, tmp_path: Path
) -> None:
    page = visit(browser, write_report(literature, tmp_path)).page
    page.wait_for_selector("#front-plot .scatterlayer path.js-line")
    page.evaluate(
        """() => {
            const plot = document.getElementById("front-plot");
            const curve = plot.data.findIndex((trace) => trace.name === "WiSE-FT curve");
            Plotly.Fx.hover(plot, [{ curveNumber: curve, pointNumber: 4 }]);
        }"""
    )
    text = page.locator("#front-plot .hoverlayer").text_content()
    trial = next(row for row in literature.trials if row.key == literature.front[0])
    assert f"trial {trial.label}, WiSE-FT a = 0.4" in text
    assert f"{trial.curve[4]['forgetting']:.2f} pp" in text
    assert f"{trial.curve[4]['test/ood_accuracy']:.2f} %" in text
    page.close()


def test_means_are_drawn_with_bars_both_ways_and_told_on_hover(
    browser: Any, confirmed: SweepRecord, tmp_path: Path
) -> None:
    page = visit(browser, write_report(confirmed, tmp_path)).page
    page.wait_for_selector("#front-plot .scatterlayer path.js-line")
    assert page.locator("#front-plot .errorbar path.xerror").count() == 4
    assert page.locator("#front-plot .errorbar path.yerror").count() == 4
    page.evaluate(
        """() => {
            const plot = document.getElementById("front-plot");
            const means = plot.data.findLastIndex((trace) => trace.name === "mean, 95 % CI");
            Plotly.Fx.hover(plot, [{ curveNumber: means, pointNumber: 0 }]);
        }"""
    )
    text = page.locator("#front-plot .hoverlayer").text_content()
    first = page.locator("#confirmations tbody tr").first.locator("td")
    label, accuracy = first.nth(0).inner_text(), first.nth(3).inner_text()
    assert f"trial {label}, mean of" in text and f"ID accuracy: {accuracy} %" in text
    page.close()


def test_closing_orders_open_on_a_click(browser: Any, closing: SweepRecord, tmp_path: Path) -> None:
    page = visit(browser, write_report(closing, tmp_path), width=400).page
    order = page.locator("details.closing").first
    closed = order.bounding_box()["height"]
    order.locator("summary").click()
    assert order.bounding_box()["height"] > closed
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()


def test_the_table_of_best_runs_sorts_too(browser: Any, literature: SweepRecord, tmp_path: Path) -> None:
    page = visit(browser, write_report(literature, tmp_path)).page
    page.locator("#best thead button").filter(has_text="forgetting").first.click()
    texts = page.locator("#best tbody td:nth-child(6)").all_inner_texts()
    assert [float(text) for text in texts] == sorted(float(text) for text in texts)
    assert len(set(texts)) > 10
    page.close()
