import random
from dataclasses import replace

import pytest
from made_up import sweep
from matplotlib.transforms import Bbox

from sweeper.report.labels import Box, Label, names, shifts
from sweeper.report.points import points
from sweeper.study.records import SweepRecord

AREA = Box(0, 0, 1000, 400)


def bbox(x: float, y: float, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


@pytest.mark.parametrize("seed", range(20))
def test_no_name_lies_on_another_on_a_marker_or_outside(seed: int) -> None:
    rng = random.Random(seed)
    spots = [(rng.gauss(300, 80), rng.gauss(300, 30)) for _ in range(20)]
    labels = [Label(x, y, rng.uniform(20, 120), 15) for x, y in spots]
    found = shifts(labels, spots, AREA)
    drawn = [
        bbox(label.x + shift[0], label.y + shift[1], label.width, label.height)
        for label, shift in zip(labels, found, strict=True)
        if shift is not None
    ]
    assert len(drawn) >= 8
    assert not any(Bbox.intersection(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert not any(Bbox.intersection(box, bbox(x, y, 12, 12)) for box in drawn for x, y in spots)
    assert all(box.x0 >= 0 and box.x1 <= 1000 and box.y0 >= 0 and box.y1 <= 400 for box in drawn)


def test_a_name_stands_above_where_there_is_room_and_nowhere_where_there_is_none() -> None:
    label = Label(500, 200, 40, 15)
    ((dx, dy),) = [shift for shift in shifts([label], [(500, 200)], AREA) if shift]
    assert dx == 0 and dy > 0
    assert shifts([label], [(500, 200)], Box(480, 190, 520, 210)) == [None]


def pixels(spot: tuple[float, float]) -> tuple[float, float]:
    return 10 + 15 * spot[0], 4 * (spot[1] - 10)


def test_each_baseline_has_one_name_at_its_best_run(literature: SweepRecord) -> None:
    shown = points(literature)
    written = names(shown, pixels, AREA, (7, 15))
    assert [name.text for name in written] == ["pre-trained", *(b.label for b in shown.baselines)]
    best = {b.label: (b.best.metrics["forgetting"], b.best.metrics["id_accuracy"]) for b in shown.baselines}
    assert all(best[name.text] == name.spot for name in written[1:])
    assert any(name.led for name in written) and not all(name.led for name in written)


def test_each_mean_has_a_name_off_its_error_bars(confirmed: SweepRecord) -> None:
    shown = points(confirmed)
    written = {
        name.text: name for name in names(shown, pixels, AREA, (7, 15)) if name.text.startswith("mean")
    }
    assert set(written) == {f"mean of trial {mean.label}" for mean in shown.means}
    for mean in shown.means:
        name = written[f"mean of trial {mean.label}"]
        assert name.spot == mean.place
        (x, y), (dx, dy) = pixels(name.spot), name.shift
        box = bbox(x + dx, y + dy, 7 * len(name.text), 15)
        assert not any(box.contains(*pixels(spot)) for other in shown.means for spot in other.spots)


def test_a_baseline_on_the_pre_trained_point_needs_no_name() -> None:
    record = sweep()
    written = [name.text for name in names(points(record), pixels, AREA, (7, 15))]
    assert written == ["pre-trained", "linear", "full", "lora"]
    untouched = replace(record, reference={})
    assert "zero_shot" in [name.text for name in names(points(untouched), pixels, AREA, (7, 15))]
