import random
from dataclasses import replace

import pytest
from made_up import baseline, sweep
from matplotlib.transforms import Bbox

from sweeper.report.labels import Box, Label, names, shifts
from sweeper.report.points import place, points
from sweeper.report.view import HEIGHT, WIDTH, everything, near_front
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


def test_each_baseline_has_one_name_at_its_best_run(literature: SweepRecord) -> None:
    shown = points(literature)
    written = names(shown, everything(shown))
    assert [name.text for name in written] == ["pre-trained", *(b.label for b in shown.baselines)]
    best = {b.label: (b.best.metrics["forgetting"], b.best.metrics["id_accuracy"]) for b in shown.baselines}
    assert all(best[name.text] == name.spot for name in written[1:])
    assert any(name.led for name in written) and not all(name.led for name in written)


def test_each_mean_has_a_name_off_its_error_bars(confirmed: SweepRecord) -> None:
    shown = points(confirmed)
    view = everything(shown)
    written = {name.text: name for name in names(shown, view) if name.text.startswith("mean")}
    assert set(written) == {f"mean of trial {mean.label}" for mean in shown.means}
    for mean in shown.means:
        name = written[f"mean of trial {mean.label}"]
        assert name.spot == mean.place
        (x, y), (dx, dy) = view.to_pixels(name.spot), name.shift
        box = bbox(x + dx, y + dy, 7 * len(name.text), 15)
        assert not any(box.contains(*view.to_pixels(spot)) for other in shown.means for spot in other.spots)


def test_a_baseline_on_the_pre_trained_point_needs_no_name() -> None:
    record = sweep()
    shown = points(record)
    assert [name.text for name in names(shown, everything(shown))] == [
        "pre-trained",
        "linear",
        "full",
        "lora",
    ]
    bare = points(replace(record, reference={}))
    assert "zero_shot" in [name.text for name in names(bare, everything(bare))]


def test_what_lies_far_from_the_front_is_named_at_the_rim_with_its_figures() -> None:
    record = sweep()
    low = baseline("bad", 12.0, -40.0)
    shown = points(replace(record, baselines=(*record.baselines, low)))
    view = near_front(shown)
    assert view is not None
    rim = {name.text: name for name in names(shown, view) if "%" in name.text}
    assert set(rim) == {"full 97.6 %, 31.4 pp →", "lora 96.9 %, 14.2 pp →", "↙ bad 12.0 %, -40.0 pp"}
    for text, name in rim.items():
        (x, y), (dx, dy) = view.to_pixels(name.spot), name.shift
        box = bbox(x + dx, y + dy, 7 * len(text), 15)
        assert box.x0 >= 0 and box.x1 <= WIDTH and box.y0 >= 0 and box.y1 <= HEIGHT
        assert not name.led
    assert rim["full 97.6 %, 31.4 pp →"].spot[0] == view.x[1]


def test_a_view_holds_the_front_whole_and_reaches_twice_its_extent_at_most() -> None:
    shown = points(sweep())
    view = near_front(shown)
    assert view is not None
    spots = [place(trial) for trial in shown.front]
    assert all(view.holds(spot) for spot in spots)
    for (low, high), values in zip((view.x, view.y), zip(*spots, strict=True), strict=True):
        assert high - low <= 1.15 * 5 * (max(values) - min(values))
    near = replace(shown, baselines=[], outside=[])
    assert near_front(near) is None  # nothing is far, so there is one view
    assert near_front(replace(shown, front=[])) is None
    alone = replace(shown, front=shown.front[:1], feasible=[], means=[])
    assert near_front(alone) is None  # it would leave out nearly everything
