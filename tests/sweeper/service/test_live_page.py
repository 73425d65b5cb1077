"""The page in a real browser."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from prepared import HOSTILE, end, served, study

from sweeper.service.app import create_app
from sweeper.service.people import Person, Role
from sweeper.service.settings import Settings
from sweeper.study.sweep_study import SweepStudy

pytestmark = pytest.mark.slow

TOKEN = "a-long-random-word"


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that remembers every error, every message, and whatever it asks of another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    opened.wrong = []
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("console", lambda told: opened.wrong.append(told.text) if told.type == "error" else None)
    opened.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("http://127.0.0.1:", "data:")) else opened.wrong.append(asked.url)
        ),
    )
    yield opened
    context.close()


def until(page: Any, holds: str) -> None:
    """Waits for an expression; `wait_for_function` would need what the page's policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(holds):
        assert time.monotonic() < deadline, holds
        page.wait_for_timeout(100)


def test_a_new_trial_appears_without_a_reload(sweep: SweepStudy, page: Any) -> None:
    with served(create_app(Settings())) as address:
        page.goto(address)
        page.locator("#front td", has_text="0").first.wait_for()
        page.locator("#plot .points path").first.wait_for(state="attached")
        page.evaluate("window.loaded_once = true")
        page.locator("#plot .updatemenu-button", has_text="everything").click()
        end(sweep, 88.0, 4.5, 2)
        page.locator("#front tr", has_text="88.00").wait_for()
        labels = (
            "document.getElementById('plot').data.find((trace) => trace.name === 'front').customdata.join()"
        )
        until(page, f"{labels}.includes('trial 6')")
        shown = "document.getElementById('plot').layout.xaxis.range"
        assert page.evaluate(shown)[1] >= 20  # the baseline's forgetting
        page.evaluate("Plotly.relayout('plot', { 'xaxis.range': [2, 6] })")
        end(sweep, 89.0, 4.6, 2)
        until(page, f"{labels}.includes('trial 7')")
        assert page.evaluate(shown) == [2, 6]
        assert page.evaluate("window.loaded_once")
        assert page.wrong == []


def test_text_of_a_trial_is_shown_and_never_runs(sweep: SweepStudy, page: Any) -> None:
    with served(create_app(Settings())) as address:
        page.goto(f"{address}/#clip_lambda")
        cell = page.locator("#failed td", has_text="<script>")
        cell.wait_for()
        assert cell.inner_text() == HOSTILE
        page.goto(f"{address}/sweeps/clip_lambda/report")
        page.locator("#front-plot svg").first.wait_for()
        assert page.evaluate("window.hit") is None
        page.goto(f"{address}/#{HOSTILE}")
        page.locator("#sweeps tr").first.wait_for()
        assert page.evaluate("window.hit") is None


def test_signing_in_by_keyboard_shows_the_sweeps_and_their_report(sweep: SweepStudy, page: Any) -> None:
    study("other")
    with served(create_app(Settings(token=TOKEN))) as address:
        page.goto(address)
        page.locator("#token").wait_for()
        assert "clip_lambda:" not in page.content()
        page.locator("#token").focus()
        page.keyboard.type("guess")
        page.keyboard.press("Enter")
        page.get_by_text("this is none of the service's tokens").wait_for()
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.locator("#sweeps a", has_text="other").wait_for()
        page.locator("#sweeps a", has_text="other").focus()
        page.keyboard.press("Enter")
        page.locator("h2#name", has_text="other").wait_for()
        assert page.locator("#line").inner_text().startswith("⚠ interrupted")
        page.locator("#links a", has_text="Report").click()
        page.get_by_role("heading", name="other").wait_for()


def test_an_empty_service_tells_how_to_begin(page: Any) -> None:
    with served(create_app(Settings())) as address:
        page.goto(address)
        page.get_by_text(f"python -m sweeper submit spaces/clip_lambda.yaml --server {address}").wait_for()
        assert not page.locator("#sweep").is_visible()
        page.goto(f"{address}/docs")
        page.get_by_text("/sweeps/{name}/resume").wait_for()
        assert page.wrong == []


def test_what_a_proxy_before_the_service_refuses_is_told_until_it_answers_again(page: Any) -> None:
    with served(create_app(Settings())) as address:
        page.route("**/sweeps", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
        page.goto(address)
        page.get_by_text("the service answers 502").wait_for()
        page.unroute("**/sweeps")
        page.get_by_text("the service answers 502").wait_for(state="hidden")


def test_who_may_only_read_is_offered_nothing_else(sweep: SweepStudy, page: Any) -> None:
    tokens = {"the-token-of-eve-1": Person("eve", Role.READ)}
    with served(create_app(Settings(token=TOKEN, tokens=tokens))) as address:
        for token, offered in (("the-token-of-eve-1", False), (TOKEN, True)):
            page.context.clear_cookies()
            page.goto(f"{address}/?{offered}")
            page.locator("#token").fill(token)
            page.keyboard.press("Enter")
            page.locator("#front tbody tr").first.wait_for()
            assert page.locator("#new").is_visible() is offered
            assert page.locator("#go-on button").is_visible() is offered
            assert page.locator("#next button").is_visible() is offered
            assert page.locator("#links a", has_text="Recommended model").is_visible()


def test_a_trial_is_enqueued_and_a_value_that_is_none_is_told(sweep: SweepStudy, page: Any) -> None:
    with served(create_app(Settings())) as address:
        page.goto(f"{address}/#clip_lambda")
        page.locator("#values").fill("method.rank=3")
        page.locator("#next button").click()
        page.locator("#refused", has_text="is not among what is searched").wait_for()
        page.locator("#values").fill("method.rank=16  method.lambda=0.7")
        page.keyboard.press("Enter")
        page.locator(
            "#enqueued", has_text="trial-0006 waits, and begins when the sweep is resumed"
        ).wait_for()
        assert page.locator("#refused").inner_text() == "" and page.locator("#values").input_value() == ""
    job = sweep.next_trial()
    values = job.space.method.dump() if job else {}
    assert (values["rank"], values["lambda"]) == (16, 0.7)
