"""The levers' benchmark: what its cells train, its arithmetic, and one small run."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.speed import _levers_models, _levers_report, levers
from benchmarks.speed._levers_models import SMALL, Cell, Sizes, open_tiny, open_vit
from benchmarks.speed._levers_report import MEMORY, PLAIN, WAYS

NAMES = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))


def row(seconds: list[float], **cell: Any) -> _levers_report.Row:
    return {
        "batch": 16,
        "blocks": 2,
        "placed": "last",
        "wall": seconds,
        "cpu": [2 * s for s in seconds],
        **cell,
    }


def test_every_pack_size_trains_the_same_draws_of_random_blocks() -> None:
    def trained(pack: int) -> Counter[tuple[str, ...]]:
        packs = Cell(16, pack, 4, "random").packs()
        return Counter(tuple(mask) for part in packs for mask in part.masks(NAMES))

    alone = trained(1)
    assert len(alone) == _levers_models.DRAWS and all(len(set(mask)) == 4 for mask in alone)
    assert trained(2) == trained(4) == trained(8) == alone
    assert trained(32) == Counter(dict.fromkeys(alone, 4))


def test_the_growth_over_trials_is_that_of_training_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    packs: list[int] = []
    batches: list[int] = []

    def training(cell: Cell, model: object, prefix: object) -> SimpleNamespace:
        packs.append(cell.pack)
        return SimpleNamespace(run_batches=batches.append)

    monkeypatch.setattr(Cell, "training", training)
    levers._all_trials(None, Cell(16, 4, 2), PLAIN, 10)  # type: ignore[arg-type]
    assert packs == [4, 4, 2] and batches == [4, 4, 4]


def test_the_last_blocks_are_those_that_are_passed_last() -> None:
    assert Cell(16, 3, 2).masks(NAMES) == [["image.7.fc1", "image.7.fc2"]] * 3
    assert len(Cell(16, 4, 2).packs()) == 1


def test_a_lever_is_how_many_times_less_it_takes_round_by_round() -> None:
    seconds = {
        (1, PLAIN): [12.0, 6.0],
        (8, PLAIN): [6.0, 2.0],
        (8, "prefix"): [3.0, 2.0],
        (8, MEMORY): [1.0, 1.0],
    }
    rows = [row(s, pack=pack, way=way) for (pack, way), s in seconds.items()]
    rows += [row([5.0, 5.0], pack=1, way=way) for way in ("prefix", MEMORY)]
    found = {line["lever"]: line for line in _levers_report.lever_rows(rows, "pictures a second")}
    assert found["pack of 8"]["times, wall"] == found["pack of 8"]["times, CPU"] == "2.5 (2 to 3)"
    assert found["prefix, no memory"]["times, wall"] == "1.5 (1 to 2)"
    assert found["prefix, memory"]["times, wall"] == "4 (2 to 6)"
    assert found["all together"]["times, wall"] == "9 (6 to 12)"
    assert (found["pack of 8"]["pictures a second before"], found["pack of 8"]["after"]) == ("0.111", "0.25")


def test_a_batch_size_is_judged_by_the_largest_pack_that_it_was_measured_with() -> None:
    model = SimpleNamespace(names=NAMES)
    sizes = Sizes((1, 4, 8), (16, 64), 64, placed=("last",), blocks=(2,), held=2048)
    cells = sizes.cells(model, sizes.packs, sizes.batches)  # type: ignore[arg-type]
    assert [(c.batch, c.pack) for c in cells] == [(16, 1), (16, 4), (16, 8), (64, 1), (64, 4)]
    rows = [row([1.0 / c.pack], batch=c.batch, pack=c.pack, way=way) for c in cells for way in WAYS]
    found = {(r["batch"], r["lever"]): r["times, wall"] for r in _levers_report.lever_rows(rows, "")}
    assert found["16", "pack of 8"] == "8" and found["64", "pack of 4"] == "4"


def test_of_more_blocks_fewer_pictures_fit_into_a_step_and_the_others_are_a_dash() -> None:
    model = SimpleNamespace(names=NAMES)
    sizes = Sizes((1, 4), (16,), 64, placed=("last",), blocks=(2, 32), held=512)
    cells = sizes.cells(model, sizes.packs, sizes.batches)  # type: ignore[arg-type]
    rows = [row([0.5], **vars(cell), way=way) for cell in cells for way in WAYS]
    alone, pack = _levers_report.grid_rows(rows, "last", scale=3.0)
    assert alone == {"batch": "16", "pack": "1", "2 open": "6 / 6 / 6", "32 open": "6 / 6 / 6"}
    assert pack == {"batch": "16", "pack": "4", "2 open": "6 / 6 / 6", "32 open": "-"}


def test_kept_memory_is_told_for_each_step_that_was_measured() -> None:
    seconds = {(16, "given back"): [0.2, 0.3], (16, "kept"): [0.1, 0.1]}
    seconds |= {(64, "given back"): [0.1, 0.1], (64, "kept"): [0.1, 0.2]}
    rows = [row(s, model="a ViT", batch=batch, pack=2, way=way) for (batch, way), s in seconds.items()]
    small, large = _levers_report.kept_rows(rows)
    assert (small["times, CPU"], large["times, wall"]) == ("2.5 (2 to 3)", "0.75 (0.5 to 1)")
    assert (small["pictures a second, memory given back"], small["kept"]) == ("4", "10")


def test_the_slope_is_the_exponent_of_a_power_law() -> None:
    sizes = (1, 2, 4, 8)
    rows = [{"size": n, "cpu": [0.3 * n**1.5, 0.3 * n**1.5, 99.0], "wall": [float(n)]} for n in sizes]
    assert _levers_report.slope(rows, "cpu") == pytest.approx((1.5, 0), abs=1e-6)
    assert _levers_report.slope(rows, "wall")[0] == pytest.approx(1)


@pytest.mark.parametrize("placed", ["last", "random"])
def test_the_ways_that_are_compared_train_the_same(placed: str) -> None:
    model = open_vit(32, pictures=32)
    cell = Cell(16, 2, 3, placed)
    losses, scores = [], []
    for way in WAYS:
        training = cell.training(model, levers.make_prefix(model, way))
        assert [set(a) for a in training.learner.method.active_blocks()] == [
            set(m) for m in cell.masks(model.names)
        ]
        losses.append(torch.stack([training.run_batches(2) for _ in range(2)]))
        scores.append([member["id_accuracy"] for member in training.validate()])
    assert not losses[0][0].allclose(losses[0][1])  # it learns
    torch.testing.assert_close(losses, [losses[0]] * 3, rtol=1e-4, atol=1e-4)
    assert scores == [scores[0]] * 3


@pytest.mark.slow
def test_a_part_is_measured_anew_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packs = [(pack, way) for pack in (1, 2) for way in WAYS]
    before = [row([0.01 / pack], pack=pack, way=way) for pack, way in packs]
    told = {"machine": "one core", "versions": {}, "command": "an earlier one", "rows": before}
    (tmp_path / "levers.json").write_text(json.dumps({"tiny-clip": told}))
    arguments = ["levers", "--only", "growth", "--small", "--rounds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    levers.main()
    assert (tmp_path / "levers.md").read_text() in capsys.readouterr().out
    known = json.loads((tmp_path / "levers.json").read_text())
    assert known["tiny-clip"] == told
    measured = {(r["against"], r["size"], r["way"]): r for r in known["growth"]["rows"]}
    assert all(len(r["cpu"]) == len(r["wall"]) == 2 and min(r["cpu"]) > 0 for r in measured.values())
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("levers", "growth"))


@pytest.mark.slow
def test_memory_is_kept_and_given_back_by_processes_of_their_own() -> None:
    rows = levers.kept_memory([(open_tiny, SMALL)], rounds=1)
    assert [(row["model"], row["way"], row["blocks"]) for row in rows] == [
        ("tiny-clip", "given back", 2),
        ("tiny-clip", "kept", 2),
    ]
    assert all(len(row["cpu"]) == 1 and row["cpu"][0] > 0 for row in rows)
