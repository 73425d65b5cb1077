"""Trials of one sweep as trials of another."""

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Space, load_space, with_counts
from sweeper.driver.progress import sweep_line
from sweeper.report import front_table, words
from sweeper.report.rows import columns, rows
from sweeper.search.samplers import make_sampler
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.earlier import Earlier
from sweeper.study.front import unmoved
from sweeper.study.sweep_study import SweepStudy, TakenOver
from sweeper.tracking.projection import run_of_trial

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
GROUNDS = {"weights": "a", "pictures": "b"}


@pytest.fixture(params=["journal", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def space(name: str, *overrides: str) -> Space:
    return load_space("spaces/clip_lambda.yaml", ["baselines=[]", f"sweep={name}", *overrides])


def create(of: Space, url: str | None, folder: Path, *taken: FrozenTrial) -> SweepStudy:
    storage = open_storage(url, folder / f"{of.sweep}.journal")
    return SweepStudy.create(of, BLOCKS, {}, 1, storage, grounds=GROUNDS, taken=TakenOver(taken))


def play(study: SweepStudy, *ends: tuple[str, int, float]) -> None:
    """Trials that end in a state, with so many open blocks and an ID accuracy."""
    for state, active, accuracy in ends:
        job = study.next_trial()
        assert job is not None
        metrics = {"id_accuracy": accuracy, "forgetting": 2.0, "active_blocks": active, "epoch": 3}
        told = {"metrics": metrics, "active": BLOCKS[:active], "reason": None, "rungs": {1: (accuracy, 2.0)}}
        study.tell({"key": job.key, "state": state, **told})


def taken(study: SweepStudy, of: Space) -> list[FrozenTrial]:
    """Of a study, by a sweep with the same model and pictures."""
    earlier = Earlier(study.name, study, f"/sweeps/{study.name}/trials")
    budget = of.budget.count(len(BLOCKS))
    counted = with_counts(of, budget, len(BLOCKS))
    assert earlier.differences(counted, budget, GROUNDS) == []
    return earlier.trials(counted, budget)


def test_complete_trials_are_there_before_the_first_draw_inside_another_budget(
    url: str | None, tmp_path: Path
) -> None:
    first = create(space("first", "budget={active_blocks: 4}"), url, tmp_path)
    play(first, ("complete", 4, 80.0), ("pruned", 2, 50.0), ("complete", 2, 70.0), ("failed", 0, 0.0))
    of = space("second", "budget={active_blocks: 2}", "search.trials=3", "search.from=first")
    second = create(of, url, tmp_path, *taken(first, of))
    trials = second.record().trials
    assert [trial.taken_over for trial in trials] == [f"/sweeps/first/trials/trial-000{n}" for n in (0, 2)]
    assert [trial.comes_from for trial in trials] == ["first", "first"]
    old = [trial for trial in first.record().trials if trial.state == "complete"]
    assert [t.parameters for t in trials] == [t.parameters for t in old]
    assert [(t.metrics, t.active, t.began, t.ended) for t in trials] == [
        (t.metrics, t.active, t.began, t.ended) for t in old
    ]
    assert [trial.feasible for trial in trials] == [False, True]
    assert second.record().front == ("trial-0001",) and second.rungs() == {"trial-0000": {}, "trial-0001": {}}
    assert (second.taken, second.asked, second.space.search.trials) == (2, 5, 3)
    play(second, *[("complete", 2, 60.0)] * 3)
    assert second.next_trial() is None and unmoved(second.record()) == 3
    third = space("third", "budget={active_blocks: 2}", "search.from=second")
    assert [t.user_attrs["taken_over"] for t in taken(second, third)] == [
        *(f"/sweeps/first/trials/trial-000{n}" for n in (0, 2)),
        *(f"/sweeps/second/trials/trial-000{n}" for n in (2, 3, 4)),
    ]


def test_the_distributions_are_the_new_sweep_s_so_that_its_sampler_learns_from_all(
    url: str | None, tmp_path: Path
) -> None:
    tpe = ("search.sampler=tpe", "budget={active_blocks: 4}")
    first = create(space("first", *tpe), url, tmp_path)
    play(first, *[("complete", 4, 70.0)] * 3)
    wider = space("wider", *tpe, "search.parameters.method.lambda={low: 0.001, high: 100, log: true}")
    second = create(wider, url, tmp_path, *taken(first, wider))
    play(second, ("complete", 4, 70.0))
    trials = second._frozen("trial")
    assert [trial.distributions for trial in trials] == [trials[-1].distributions] * 4
    sampler = make_sampler(wider, 4, BLOCKS)
    relative = sampler.infer_relative_search_space(second._studies["trial"], trials[-1])
    assert relative.keys() == wider.search.parameters.keys()


def test_a_trial_whose_values_are_not_searched_any_more_is_left_behind(tmp_path: Path) -> None:
    first = create(space("first", "search.sampler=random", "search.trials=12"), None, tmp_path)
    play(first, *[("complete", 2, 70.0)] * 12)
    ranks = {trial.key: trial.parameters["method.rank"] for trial in first.record().trials}
    of_rank_4 = [key for key, rank in ranks.items() if rank == 4]
    assert 0 < len(of_rank_4) < 12
    fixed = space("fixed", "search.parameters={method.lambda: {low: 0.01, high: 10, log: true}}")
    narrow = space("narrow", "search.parameters.method.rank={choices: [4, 32]}")
    for of in (fixed, narrow):
        assert [Path(t.user_attrs["taken_over"]).name for t in taken(first, of)] == of_rank_4


def test_a_setting_that_was_not_searched_then_is_a_value_of_what_is_searched_now(tmp_path: Path) -> None:
    first = create(space("first"), None, tmp_path)
    play(first, ("complete", 2, 70.0))
    (trial,) = taken(first, space("second", "search.parameters.training.lr={low: 1e-3, high: 1e-2}"))
    assert trial.params["training.lr"] == space("first").training.lr


def test_a_genetic_sampler_breeds_from_what_is_taken_over(tmp_path: Path) -> None:
    nsga2 = "search.sampler=nsga2"
    first = create(space("first", nsga2, "search.trials=50"), None, tmp_path)
    play(first, *[("complete", 2, 70.0)] * 50)
    second = create(space("second", nsga2), None, tmp_path, *taken(first, space("second", nsga2)))
    play(second, ("complete", 2, 70.0))
    assert second._frozen("trial")[-1].system_attrs["NSGAIISampler:generation"] == 1


def test_sets_of_blocks_are_taken_over_with_what_ranked_the_blocks(tmp_path: Path) -> None:
    mask = ("budget={active_blocks: 2, mode: mask}", "search.sampler=tpe", "search.trials=4")
    parameters = "search.parameters={method.rank: {choices: [1, 2]}}"
    first = create(space("first", *mask, parameters), None, tmp_path)
    play(first, *[("complete", 2, 70.0)] * 3)
    second = create(of := space("second", *mask, parameters), None, tmp_path, *taken(first, of))
    assert [t.parameters for t in second.record().trials] == [t.parameters for t in first.record().trials]
    assert "method.mask" in second.record().trials[-1].parameters


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["training.epochs=7"], ["training.epochs (3 there, 7 here)"]),
        (["training.seed=1", "method.towers=[text]", "training.objective=flyp", "training.head_lr=null"],
         ['method.towers (["image"] there, ["text"] here)', "training.head_lr (0.1 there, null here)",
          'training.objective ("cross_entropy" there, "flyp" here)', "training.seed (0 there, 1 here)"]),
        (["points={scale: [0.5]}"],
         ["points.scale ([] there, [0.5] here)", "points.most_blocks (null there, 2 here)"]),
        (["budget={active_blocks: 3, mode: controlled}", "search.sampler=tpe",
          "search.parameters={method.rank: {choices: [1, 2]}}"],
         ["method.active_blocks (null there, 3 here)", 'budget.mode ("search" there, "controlled" here)']),
        (["search.seed=4", "search.trials=3", "search.sampler=tpe", "budget={active_blocks: 30}",
          "search.limits=[forgetting <= 1]", "resources.pack=1", "confirm={trials: 1, seeds: 2}"], []),
    ],
)  # fmt: skip
def test_settings_that_differ_are_named(changes: list[str], told: list[str], tmp_path: Path) -> None:
    first = create(space("first"), None, tmp_path)
    of = space("second", *changes)
    budget = of.budget.count(len(BLOCKS))
    counted = with_counts(of, budget, len(BLOCKS))
    assert Earlier("first", first, "").differences(counted, budget, GROUNDS) == told


def test_other_pictures_are_named_with_what_is_written_of_them(tmp_path: Path) -> None:
    first = create(space("first"), None, tmp_path)
    earlier, other = Earlier("first", first, ""), {**GROUNDS, "pictures": "c"}
    assert earlier.differences(space("second"), 2, other) == ["pictures"]
    assert earlier.differences(space("second", "data.ood=[]"), 2, other) == [
        "pictures",
        'data.ood ("digits-inverted,digits-rotated,digits-blurred,digits-noisy" there, null here)',
    ]


def test_a_path_is_taken_over_at_its_best_point_inside_the_new_budget(tmp_path: Path) -> None:
    path = ("search.sampler=tpe", "search.parameters={method.rank: {choices: [1, 2]}}",
            "method.path={counts: [8, 4, 2]}")  # fmt: skip

    def of(name: str, blocks: int) -> Space:
        return space(name, *path, f"budget={{active_blocks: {blocks}, mode: path}}")

    def point(blocks: int, accuracy: float) -> dict[str, Any]:
        metrics = {"id_accuracy": accuracy, "forgetting": 1.0, "active_blocks": blocks}
        active = list(BLOCKS[:blocks])
        return {
            "name": f"blocks-{blocks}",
            "blocks": blocks,
            "scaling": None,
            "metrics": metrics,
            "active": active,
        }

    first = create(of("first", 8), None, tmp_path)
    job = first.next_trial()
    assert job is not None
    points = [point(32, 95.0), point(8, 90.0), point(4, 80.0), point(2, 70.0)]
    end = {"state": "complete", "metrics": points[-1]["metrics"], "active": [], "points": points}
    first.tell({"key": job.key, **end})
    second = of("second", 4)
    (trial,) = taken(first, second)
    assert first.record().trials[0].metrics["id_accuracy"] == 90.0
    assert trial.values == [80.0, 1.0] and trial.state == TrialState.COMPLETE
    record = create(second, None, tmp_path, trial).record()
    assert record.front == ("trial-0000-blocks-4",) and record.trials[0].active == BLOCKS[:4]


def test_it_is_marked_on_the_screen_in_the_report_and_in_mlflow(tmp_path: Path) -> None:
    first = create(space("first"), None, tmp_path)
    play(first, ("complete", 2, 70.0))
    of = space("second", "search.trials=4")
    record = create(of, None, tmp_path, *taken(first, of)).record()
    assert sweep_line(record).startswith("second: 1/5 done, 0 failed, 1 taken over, ")
    assert words.counts(record) == "1 of 5 trials done, 1 feasible, 1 taken over, 0 failed"
    assert str(next(iter(front_table(record).columns[0].cells))) == "0 from first (knee)"
    assert rows(record, columns(record))[0].cells[1].text == "from first"
    run = run_of_trial(record.trials[0], record, of, "parent", [], None)
    assert run.tags["taken_over"] == "/sweeps/first/trials/trial-0000"
