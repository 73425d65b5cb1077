import math
from dataclasses import replace

from sweeper.report import words
from sweeper.report.confidence import Interval
from sweeper.report.page import page
from sweeper.report.plots import front_plot
from sweeper.study.records import SweepRecord


def test_budget(whole: SweepRecord) -> None:
    assert words.budget(whole) == "at most 2 of 32 blocks (6.25 %)"
    assert words.budget(replace(whole, rule="exactly", budget=3)) == "exactly 3 of 32 blocks (9.375 %)"
    assert words.budget(replace(whole, blocks=())) == "at most 2 of 0 blocks"
    near = replace(whole, rule="exactly", tolerance=1)
    assert words.budget(near) == "exactly 2 of 32 blocks, give or take 1 (3.125 to 9.375 %)"


def test_mode() -> None:
    assert words.mode("search", 2).startswith("search: ")
    assert words.mode("controlled", 2).endswith("closes blocks until 2 are open")
    assert words.mode("controlled", 1).endswith("closes blocks until 1 is open")
    assert words.mode("mask", 2).startswith("mask: ")


def test_blocks_are_named_without_a_tower_that_all_share(whole: SweepRecord) -> None:
    mask = ("image.0.qkv", "image.7.fc2")
    assert words.setting(mask) == "image.0.qkv, image.7.fc2"
    assert words.setting(list(mask), whole) == "0.qkv, 7.fc2"
    assert words.setting(mask, replace(whole, blocks=(*mask, "text.0.qkv"))) == "image.0.qkv, image.7.fc2"
    assert words.setting(mask, replace(whole, blocks=())) == "image.0.qkv, image.7.fc2"
    assert words.setting(("0.qkv", "1.qkv"), replace(whole, blocks=("0.qkv", "1.qkv"))) == "0.qkv, 1.qkv"
    assert (words.setting([1, 2]), words.setting(())) == ("[1, 2]", "[]")


def test_an_interval_of_one_value_is_the_value() -> None:
    assert words.interval(Interval(92.8, 0.614, 5)) == "92.80 \N{PLUS-MINUS SIGN} 0.61"
    assert words.interval(Interval(92.8, None, 1)) == "92.80"
    assert words.interval(None) == words.UNKNOWN


def test_figures_have_no_negative_zero_and_no_nan() -> None:
    assert words.figure(-0.001) == "0.00"
    assert words.figure(-1.005) in ("-1.00", "-1.01")
    assert words.figure(math.nan) == words.figure(None) == words.UNKNOWN


def test_an_accuracy_that_is_no_top1_says_so(whole: SweepRecord) -> None:
    assert words.per_class(whole, "id_accuracy") == "" and words.means_per_class(whole) == []
    pets = replace(whole, space={**whole.space, "data.mean_per_class": "id_accuracy,probe/pets"})
    assert words.means_per_class(pets) == ["id_accuracy", "probe/pets"]
    assert words.per_class(pets, "id_accuracy") == ", mean per class"
    assert words.per_class(pets, "probe/letters") == ""
    assert "ID accuracy (%, mean per class)" in front_plot(pets).to_json()
    assert "mean per class" in page(pets) and "mean per class" not in page(whole)


def test_counts(whole: SweepRecord, under_way: SweepRecord) -> None:
    able = sum(trial.feasible for trial in whole.trials)
    assert words.counts(whole) == f"32 of 32 trials done, {able} feasible, 2 stopped early, 1 failed"
    assert words.counts(under_way) == "0 of 32 trials done, 0 feasible, 0 failed, 1 running"


def test_damaged_pictures_are_counted_and_named(whole: SweepRecord) -> None:
    told = [f"path: /data/cat/{n}.jpg cannot be read as a picture: cut off; replace it" for n in range(30)]
    assert words.damaged(replace(whole, damaged=(told[7],))) == "1 damaged picture: /data/cat/7.jpg"
    many = words.damaged(replace(whole, damaged=tuple(told)))
    assert many.startswith("30 damaged pictures: /data/cat/0.jpg, /data/cat/1.jpg, ") and many.endswith(
        ", ..."
    )
    assert "/data/cat/7.jpg" in page(replace(whole, damaged=(told[7],)))
    assert "left out" not in page(whole)


def test_no_front_names_the_nearest_counts(none_feasible: SweepRecord, under_way: SweepRecord) -> None:
    said = words.no_front(none_feasible)
    assert said.startswith("No trial met the budget of at most 2 of 32 blocks (6.25 %).")
    nearest = next(t for t in none_feasible.trials if t.metrics.get("active_blocks") == 3)
    assert f"3 active (trials {nearest.label}" in said
    assert words.no_front(under_way) == "No trial has finished yet."


def test_short_names_stay_apart() -> None:
    assert words.short(["method.rank", "method.lambda"]) == ["rank", "lambda"]
    assert words.short(["a.rank", "b.rank", "c.lr"]) == ["a.rank", "b.rank", "lr"]
