from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats

from sweeper.report import confirmed_frame, curves_frame, trials_frame
from sweeper.study.records import SweepRecord


def test_one_row_a_trial_and_baseline_in_order(whole: SweepRecord) -> None:
    frame = trials_frame(whole)
    assert list(frame["key"]) == [row.key for row in (*whole.trials, *whole.baselines)]
    assert list(frame.columns[:9]) == [
        "key",
        "label",
        "role",
        "method",
        "state",
        "feasible",
        "front",
        "method.lambda",
        "method.rank",
    ]
    assert list(frame.columns[-3:]) == ["active", "reason", "taken_over"]


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


def test_a_mask_is_one_cell(masks: SweepRecord) -> None:
    frame = trials_frame(masks).set_index("key")
    assert pd.isna(frame.loc["trial-0000", "method.mask"])
    assert frame.loc["trial-0000", "method.active_blocks"] == 2
    for row in masks.trials[2:]:
        assert frame.loc[row.key, "method.mask"] == ", ".join(row.parameters["method.mask"])


def test_confirmations_stand_after_the_baselines(confirmed: SweepRecord) -> None:
    frame = trials_frame(confirmed)
    rows = frame[frame["role"] == "confirmation"]
    assert list(rows["key"]) == [run.key for run in confirmed.confirmations] == list(frame["key"][-16:])
    assert list(rows["training.seed"]) == [run.parameters["training.seed"] for run in confirmed.confirmations]
    assert not rows["front"].any()


def test_confirmed_trials_have_the_means_of_their_finished_seeds(confirmed: SweepRecord) -> None:
    frame, runs = confirmed_frame(confirmed).set_index("label"), trials_frame(confirmed)
    labels = [t.label for t in confirmed.trials if t.label in {run.group for run in confirmed.confirmations}]
    assert list(frame.index) == labels and len(labels) == 4
    for label, line in frame.iterrows():
        own = runs[(runs["role"] == "confirmation") & runs["label"].str.startswith(f"{label}, ")]
        done = own[own["state"] == "complete"]
        assert (line["asked"], line["seeds"], line["failed"]) == (len(own), len(done), len(own) - len(done))
        assert line["feasible"] == done["feasible"].sum()
        for name in ("id_accuracy", "forgetting", "active_blocks", "test/id_accuracy", "test/forgetting"):
            assert line[name] == pytest.approx(done[name].mean())
            if len(done) > 1:
                width = stats.t.ppf(0.975, len(done) - 1) * stats.sem(done[name])
                assert line[f"{name}_half_width"] == pytest.approx(width)
    assert sorted(frame["seeds"]) == [1, 4, 5, 5]
    assert frame["id_accuracy_half_width"].isna().sum() == 1


def test_an_empty_sweep_has_columns_and_no_rows(under_way: SweepRecord) -> None:
    frame = trials_frame(replace(under_way, trials=(), baselines=()))
    assert len(frame) == 0
    assert {"key", "state", "feasible", "active", "reason"} <= set(frame.columns)


def test_a_baseline_s_values_stand_in_a_column(literature: SweepRecord) -> None:
    frame = trials_frame(literature).set_index("key")
    assert frame.loc["baseline-lora_qv-lr-3e-4", ["method", "training.lr"]].tolist() == ["lora", 3e-4]
    assert frame.loc["trial-0000", "method"] == "selective_lora"
    assert pd.isna(frame.loc["trial-0000", "training.lr"])
    assert list(frame.columns).index("training.lr") == list(frame.columns).index("method.rank") + 1


def test_curves_have_one_row_a_point_by_rising_a(literature: SweepRecord) -> None:
    turned = tuple(replace(row, curve=row.curve[::-1]) for row in literature.trials)
    frame = curves_frame(replace(literature, trials=turned))
    assert list(frame.columns) == ["key", "label", "a", "id_accuracy", "forgetting", "test/ood_accuracy"]
    rows = [row for row in (*literature.trials, *literature.baselines) if row.curve]
    assert list(frame["key"]) == [row.key for row in rows for _ in range(11)]
    assert list(frame["a"]) == [a / 10 for a in range(11)] * len(rows)
    own = frame[frame["key"] == "baseline-full-lr-3e-4"]
    assert own["id_accuracy"].iloc[-1] == pytest.approx(97.6) and own["forgetting"].iloc[0] == 0.0


def test_no_curves_no_rows(whole: SweepRecord) -> None:
    frame = curves_frame(whole)
    assert len(frame) == 0 and list(frame.columns) == ["key", "label", "a"]
