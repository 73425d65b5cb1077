from dataclasses import replace

import pandas as pd
import pytest

from sweeper.records import SweepRecord
from sweeper.report import trials_frame


def test_one_row_a_trial_and_baseline_in_order(whole: SweepRecord) -> None:
    frame = trials_frame(whole)
    assert list(frame["key"]) == [row.key for row in (*whole.trials, *whole.baselines)]
    assert list(frame.columns[:8]) == [
        "key",
        "label",
        "role",
        "state",
        "feasible",
        "front",
        "method.lambda",
        "method.rank",
    ]
    assert list(frame.columns[-2:]) == ["active", "reason"]


def test_values_are_the_record_s(whole: SweepRecord) -> None:
    frame = trials_frame(whole).set_index("key")
    for row in (*whole.trials, *whole.baselines):
        line = frame.loc[row.key]
        assert line["active"] == ",".join(row.active)
        assert line["front"] == (row.key in whole.front)
        for name in ("id_accuracy", "test/ood_accuracy"):
            assert (
                line[name] == pytest.approx(row.metrics[name]) if name in row.metrics else pd.isna(line[name])
            )
    assert frame["method.rank"].dtype == "Int64"
    assert frame.loc["trial-0005", "reason"] == "loss is NaN after epoch 3"


def test_mixed_parameters_become_text(whole: SweepRecord) -> None:
    values = [4, "auto", [1, 2], None, True]
    rows = [replace(t, parameters={"p.q": v}) for t, v in zip(whole.trials, values, strict=False)]
    column = trials_frame(replace(whole, trials=tuple(rows), baselines=(), front=()))["p.q"]
    assert column.fillna("missing").tolist() == ["4", "auto", "[1, 2]", "missing", "true"]


def test_an_empty_sweep_has_columns_and_no_rows(under_way: SweepRecord) -> None:
    frame = trials_frame(replace(under_way, trials=(), baselines=()))
    assert len(frame) == 0
    assert {"key", "state", "feasible", "active", "reason"} <= set(frame.columns)
