import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up import sweep
from optuna.distributions import FloatDistribution
from PIL import Image
from test_write import Page

from sweeper.report.compared import compared_plot, write_compared
from sweeper.study.front import on_front
from sweeper.study.records import SweepRecord


@pytest.fixture
def records() -> list[SweepRecord]:
    """Two sweeps, of which the second has a parameter that the first has not."""
    other = replace(sweep(20, seed=5), name="other")
    trials = tuple(replace(t, parameters={"training.lr": 1e-3, **t.parameters}) for t in other.trials)
    domains = {"training.lr": FloatDistribution(1e-4, 1e-2), **other.domains}
    return [sweep(30), replace(other, trials=trials, domains=domains)]


def test_several_sweeps_stand_on_one_plot_and_in_one_table(
    records: list[SweepRecord], tmp_path: Path
) -> None:
    index = write_compared(records, tmp_path / "both")
    page = Page(index.read_text())
    traces = {t["name"]: t for t in json.loads(page.scripts[0])["front-plot"]["data"]}
    for record in records:
        assert sorted(traces[record.name]["y"], reverse=True) == [
            trial.metrics["id_accuracy"] for trial in on_front(record)
        ]
    assert traces["clip_lambda"]["marker"]["color"] != traces["other"]["marker"]["color"]
    assert traces["clip_lambda: full"]["marker"]["symbol"] == traces["other: full"]["marker"]["symbol"]
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr" and attrs.get("class")]
    assert len(rows) == sum(len(record.front) + len(record.baselines) for record in records)
    assert rows.count("knee") == 2
    stored = pd.read_csv(index.parent / "front.csv")
    expected = [(record.name, key) for record in records for key in record.front]
    assert list(zip(stored["sweep"], stored["key"], strict=True)) == expected
    lines = (index.parent / "front.tex").read_text().splitlines()
    assert sum(line.startswith("other & ") for line in lines) == len(records[1].front) + 4
    assert "sweep & trial & lr & lambda & rank & ID acc & forgetting" in "\n".join(lines)
    with Image.open(index.parent / "front.png") as picture:
        assert picture.width >= 1500


def test_what_is_not_measured_alike_is_told(records: list[SweepRecord], tmp_path: Path) -> None:
    assert "Not measured alike" not in write_compared(records, tmp_path).read_text()
    second = replace(records[1], space={**records[1].space, "model.name": "ViT-B-32"})
    assert "The sweeps differ in model.name" in write_compared([records[0], second], tmp_path).read_text()


def test_sweeps_that_have_nothing_yet_have_no_plot(under_way: SweepRecord, tmp_path: Path) -> None:
    assert compared_plot([under_way, under_way]) is None
    assert "Nothing has been measured yet" in write_compared([under_way, under_way], tmp_path).read_text()
