"""A sweep of more trials than a page can tell of one by one."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import BLOCKS, REFERENCE

from sweeper.report import notable, write_report
from sweeper.report.notable import MOST
from sweeper.report.plots import hypervolume_plot
from sweeper.study.front import Front, hypervolume_history
from sweeper.study.records import SweepRecord, TrialRecord


def trial(number: int) -> TrialRecord:
    accuracy, forgetting = 30 + (number * 7919 % 5003) / 100, (number * 104729 % 3001) / 100
    active = number % 5
    failed = number % 11 == 0
    metrics = {"id_accuracy": accuracy, "forgetting": forgetting, "active_blocks": float(active)}
    return TrialRecord(
        key=f"trial-{number:04d}",
        label=str(number),
        group=str(number),
        method="selective_lora",
        role="trial",
        state="failed" if failed else "complete",
        parameters={"method.lambda": 0.1 + number / 1000},
        metrics={} if failed else metrics,
        active=() if failed else BLOCKS[:active],
        feasible=not failed and active <= 2,
        reason="out of memory" if failed else None,
    )


@pytest.fixture(scope="module")
def many() -> SweepRecord:
    trials = tuple(trial(number) for number in range(3 * MOST))
    front = Front()
    for one in trials:
        if one.feasible:
            front.add(one)
    keys = tuple(one.key for one in front.trials)
    return SweepRecord("many", {}, BLOCKS, 2, "at_most", len(trials), REFERENCE, trials, (), keys)


def test_of_few_trials_all_are_notable(many: SweepRecord) -> None:
    few = replace(many, trials=many.trials[:MOST])
    assert notable.notable(few) == list(few.trials)


def test_the_front_comes_first_and_then_what_is_inside_the_budget(many: SweepRecord) -> None:
    chosen = notable.notable(many)
    assert len(chosen) == MOST and chosen == sorted(chosen, key=lambda one: int(one.label))
    assert set(many.front) <= {one.key for one in chosen}
    assert all(one.feasible for one in chosen)  # there are more of them than a page has room for
    left = [one for one in many.trials if one.feasible and one not in chosen]
    worst = min(one.metrics["id_accuracy"] for one in chosen if one.key not in many.front)
    assert left and max(one.metrics["id_accuracy"] for one in left) <= worst


def test_the_page_has_every_point_and_says_what_its_table_leaves_out(
    many: SweepRecord, tmp_path: Path
) -> None:
    page = write_report(many, tmp_path).read_text()
    assert f"{MOST} of the {3 * MOST} trials" in page
    body = re.search(r'<table id="trials".*?<tbody>(.*?)</tbody>', page, re.S)
    assert body is not None and body[1].count("<tr") == MOST + 1  # and the pre-trained model
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert data is not None
    traces = {trace["name"]: trace for trace in json.loads(data[1])["front-plot"]["data"]}
    drawn = sum(len(traces[name]["x"]) for name in ("outside budget", "inside budget", "front"))
    assert drawn == sum(one.state == "complete" for one in many.trials)
    told = traces["inside budget"]["customdata"]
    assert {"lambda" in text for text in told} == {True, False}
    assert all("ID accuracy" in text for text in told)
    with (tmp_path / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * MOST


def test_the_hypervolume_of_many_trials_is_drawn_where_it_rises(many: SweepRecord) -> None:
    trace = hypervolume_plot(many).data[0]
    history = dict(hypervolume_history(many))
    assert len(history) > MOST > len(trace.x) > 3
    drawn = dict(zip(trace.x, trace.y, strict=True))
    height = 0.0
    for number in range(3 * MOST):
        height = drawn.get(number, height)
        if number in history:
            assert height == history[number]
