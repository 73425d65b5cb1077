"""The GPU's benchmark: one run with the model that stands in, without Ray, Optuna and MLflow."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ABSENT = ("ray", "optuna", "mlflow", "sweeper")
WAYS = [
    "one trial",
    "one trial, operation by operation",
    "pack of 4",
    "pack of 2",
    "pack of 2, operation by operation",
    "pack of 2, blocks counted",
    "pack of 4, 2 blocks open",
    "pack of 4, 2 blocks open, prefix shared",
    "pack of 4, 2 blocks open, prefix remembered",
    "2 processes",
]
SMALL = ["--quick", "--rounds", "2", "--seconds", "0.05", "--minutes", "60"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a process has measured that cannot import what the benchmark must do without."""
    folder = tmp_path_factory.mktemp("gpu")
    without = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))"
    script = f"{without}; from benchmarks.speed import gpu; gpu.main()"
    command = [sys.executable, "-c", script, *SMALL, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def case(out: Path) -> dict[str, Any]:
    (found,) = json.loads((out / "gpu.json").read_text())["cases"]
    return dict(found)


def test_all_ways_are_in_the_table_and_no_figure_is_called_a_gpu_s(out: Path, case: dict[str, Any]) -> None:
    assert [row["way"] for row in case["rows"]] == WAYS
    assert not [row["error"] for row in case["rows"] if "error" in row]
    told = (out / "gpu.md").read_text()
    device = case["device"]
    for way in WAYS:
        assert f"| {device} | stand-in | 4 | {way} |" in told
    assert ("The GPU columns are not measured: this machine has none." in told) == (device == "cpu")
    assert (out / "gpu.png").read_bytes().startswith(b"\x89PNG")


def test_images_a_second_are_those_of_the_steps_and_seconds(case: dict[str, Any]) -> None:
    for row in case["rows"]:
        assert [len(spans) for spans in row["rounds"]] == [row["processes"]] * 2
        assert all(span["seconds"] >= 0.05 for spans in row["rounds"] for span in spans)
        images = row["pack"] * case["batch"]
        rates = [sum(images * span["steps"] / span["seconds"] for span in spans) for spans in row["rounds"]]
        alone = [case["batch"] * s["steps"] / s["seconds"] for (s,) in row["alone"]]
        assert row["images_a_second"] == pytest.approx([statistics.median(rates), min(rates), max(rates)])
        ratios = [rate / one for rate, one in zip(rates, alone, strict=True)]
        assert row["times_one_trial"] == pytest.approx([statistics.median(ratios), min(ratios), max(ratios)])
        assert row["trials_an_hour"] == pytest.approx(statistics.median(rates) * 3600 / 20_000)
        share = statistics.median(rates) * row["flops_per_step"] / images / case["matrix_peak_flops"]
        assert row["of_matrix_peak"] == pytest.approx(share)


def test_a_pack_does_the_operations_of_its_trials_and_a_shared_prefix_saves_some(
    case: dict[str, Any],
) -> None:
    flops = {row["way"]: row["flops_per_step"] for row in case["rows"]}
    assert flops["pack of 2"] == pytest.approx(2 * flops["one trial"], rel=0.02)
    assert flops["pack of 4"] == pytest.approx(4 * flops["one trial"], rel=0.02)
    # A ViT's multiplications are 2 a weight and token, and as many again for the gradient of the inputs; what
    # low-rank updates, attention and patches come to is less than a third of that here.
    layers, tokens, width = 5, 1 + (32 // 8) ** 2, 96
    least = 2 * 2 * layers * 12 * width**2 * tokens * case["batch"]
    assert least < flops["one trial"] < 1.5 * least
    fixed = "pack of 4, 2 blocks open"
    plain, shared, remembered = (flops[fixed + end] for end in ("", ", prefix shared", ", prefix remembered"))
    assert flops["pack of 4"] > plain > shared > remembered


def test_pictures_are_brought_and_trained_on(out: Path) -> None:
    pictures = json.loads((out / "gpu.json").read_text())["pictures"]
    assert len(pictures) == 4 and all(min(row["pictures_a_second"]) > 0 for row in pictures)
