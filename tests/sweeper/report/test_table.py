from dataclasses import replace

from made_up import ended
from rich.console import Console

from sweeper.report import front_table
from sweeper.study.front import recommended
from sweeper.study.records import SweepRecord


def printed(record: SweepRecord) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(front_table(record))
    return capture.get()


def test_front_then_baselines_then_pre_trained(whole: SweepRecord) -> None:
    text = printed(whole)
    by_key = {trial.key: trial for trial in whole.trials}
    order = [by_key[key].label for key in whole.front]
    order += ["zero_shot", "linear", "full", "lora", "pre-trained"]
    starts = [line.split()[0] for line in text.splitlines() if line.strip()]
    places = [starts.index(word) for word in order]
    assert places == sorted(places)


def test_accuracies_that_are_means_per_class_are_named(whole: SweepRecord) -> None:
    pets = replace(whole, space={**whole.space, "data.mean_per_class": "id_accuracy,ood/pets"})
    assert "mean per class, not top-1: id_accuracy, ood/pets" in printed(pets)
    assert "mean per class" not in printed(whole)


def test_the_knee_is_marked_once(whole: SweepRecord) -> None:
    chosen = recommended(whole)
    assert chosen is not None
    text = printed(whole)
    assert text.count("(knee)") == 1
    assert f"{chosen.label} (knee)" in text
    assert f"{chosen.metrics['id_accuracy']:.2f}" in text


def test_no_front_and_markup_in_names(under_way: SweepRecord, whole: SweepRecord) -> None:
    assert "zero_shot (running)" in printed(under_way)
    assert "[bold]x[/nope]" in printed(replace(whole, name="[bold]x[/nope]"))


def test_a_baseline_of_several_runs_has_one_line_with_the_values_of_its_best(literature: SweepRecord) -> None:
    lines = {
        line.split(",")[0].strip(): line for line in printed(literature).splitlines() if "best of" in line
    }
    assert len(lines) == 14
    assert "lora_qv, best of 3" in lines["lora_qv"] and "0.0003" in lines["lora_qv"]
    assert "95.80" in lines["lora_qv"] and "9.10" in lines["lora_qv"]


def test_a_controlled_sweep_shows_the_price_it_ended_at_and_a_mask_its_blocks(
    closing: SweepRecord, masks: SweepRecord, whole: SweepRecord
) -> None:
    text = printed(closing)
    by_key = {trial.key: trial for trial in closing.trials}
    assert "final lambda" in text and "final lambda" not in printed(whole)
    for key in closing.front:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [by_key[key].label]]
        assert f"{by_key[key].metrics['lambda']:.4g}" in line
    first = next(trial for trial in masks.trials if trial.key == masks.front[0])
    assert ", ".join(name.removeprefix("image.") for name in first.active) in printed(masks)


def test_a_baseline_none_of_whose_runs_is_complete_says_how_far_it_is(literature: SweepRecord) -> None:
    states = {"full": ("failed", "running", "waiting"), "lora": ("failed",) * 3, "taps": ("waiting",) * 3}
    left = {label: iter(of) for label, of in states.items()}
    rows = tuple(
        ended(row, next(left[row.group]), None) if row.group in left else row for row in literature.baselines
    )
    text = printed(replace(literature, baselines=rows))
    for said in ("full (running)", "lora (failed)", "taps (waiting)", "lora_qv, best of 3"):
        assert said in text
