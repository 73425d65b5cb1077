from pathlib import Path
from typing import Any

import httpx
import optuna
import optuna_dashboard
import pytest

from search_spaces import Space, load_space
from sweeper.errors import UserError
from sweeper.storage.optuna_storage import mend_journal, open_storage
from sweeper.study.changes import enqueued
from sweeper.study.confirm import pending
from sweeper.study.front import recommended
from sweeper.study.sweep_study import Job, SweepStudy

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
CONFIRM = "confirm={trials: 2, seeds: 3}"
REFERENCE = {"id_accuracy": 50.0, "probe/glyphs": 90.0, "retained_accuracy": 90.0, "forgetting": 0.0}

PICTURES = {"id": {"train": 60, "val": 20, "test": 20}, "ood/some": {"test": 7}}


@pytest.fixture(params=["journal", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def space(*overrides: str) -> Space:
    return load_space("spaces/clip_lambda.yaml", ["baselines=[full]", "search.trials=12", *overrides])


def create(of: Space, url: str | None, folder: Path) -> SweepStudy:
    storage = open_storage(url, folder / "study.journal")
    return SweepStudy.create(of, BLOCKS, REFERENCE, 1, storage, pictures=PICTURES)


def reopen(url: str | None, folder: Path) -> SweepStudy:
    mend_journal(folder / "study.journal")
    return SweepStudy("clip_lambda", open_storage(url, folder / "study.journal"))


def report(key: str, state: str = "complete", active: int = 2, accuracy: float = 80.0, **extra: Any) -> Any:
    metrics = {"id_accuracy": accuracy, "forgetting": 5.0, "active_blocks": active, "epoch": 1}
    return {
        "key": key,
        "state": state,
        "metrics": metrics,
        "epochs": [],
        "active": BLOCKS[:active],
        "reason": None,
        **extra,
    }


def pretend(job: Job) -> Any:
    """An outcome that depends on the values alone."""
    price = job.space.method.dump()["lambda"]
    active = max(0, round(8 - 4 * price))
    return report(job.key, active=active, accuracy=60 + active + job.space.method.dump()["rank"] / 10)


def play(study: SweepStudy, ends: int) -> None:
    for _ in range(ends):
        job = study.next_trial()
        assert job is not None
        study.tell(pretend(job))


def test_a_study_survives_its_process(url: str | None, tmp_path: Path) -> None:
    first = create(space(), url, tmp_path)
    play(first, 3)
    again = reopen(url, tmp_path)
    assert again.record() == first.record() and again.record().pictures == PICTURES
    assert again.space == space()
    assert (again.blocks, again.budget, again.reference, again.asked) == (BLOCKS, 2, REFERENCE, 12)


def test_baselines_are_handed_out_once_and_are_not_trials_of_the_search(tmp_path: Path) -> None:
    study = create(space(), None, tmp_path)
    job = study.next_baseline()
    assert job is not None
    assert (job.key, job.space.method.name) == ("baseline-full", "full")
    assert study.next_baseline() is None
    study.tell(report("baseline-full", active=32, accuracy=99.0))
    record = study.record()
    assert record.trials == () and record.front == ()
    assert record.baselines[0].state == "complete"


def test_a_baseline_over_several_values_is_handed_out_once_for_each(url: str | None, tmp_path: Path) -> None:
    written = "baselines=[linear, {method: full, each: {training.lr: [5e-5, 3e-4]}}]"
    study = create(space(written), url, tmp_path)
    jobs = [study.next_baseline() for _ in range(3)]
    assert study.next_baseline() is None
    assert [job.key for job in jobs if job] == [
        "baseline-linear",
        "baseline-full-lr-5e-5",
        "baseline-full-lr-3e-4",
    ]
    assert [job.space.training.lr for job in jobs if job] == [space().training.lr, 5e-5, 3e-4]
    study.tell(report("baseline-full-lr-3e-4", active=32, accuracy=99.0))
    again = reopen(url, tmp_path)
    assert again.interrupted() == jobs[:2]
    linear, slow, fast = again.record().baselines
    assert (linear.label, linear.group, linear.method, linear.parameters) == (
        "linear",
        "linear",
        "linear",
        {},
    )
    assert (slow.group, slow.method, slow.parameters) == ("full", "full", {"training.lr": 5e-5})
    assert (fast.group, fast.state, fast.parameters) == ("full", "complete", {"training.lr": 3e-4})


def test_a_curve_is_kept_and_the_method_is_known(url: str | None, tmp_path: Path) -> None:
    study = create(space(), url, tmp_path)
    curve = [{"a": a / 10, "id_accuracy": 50.0 + a, "test/ood_accuracy": 30.0} for a in range(11)]
    for with_it in (True, False):
        job = study.next_trial()
        assert job is not None
        study.tell(report(job.key, **({"curve": curve} if with_it else {})))
    measured, plain = reopen(url, tmp_path).record().trials
    assert measured.curve == tuple(curve) and plain.curve == ()
    assert (measured.method, measured.group) == ("selective_lora", "0")


@pytest.mark.parametrize(
    ("rule", "tolerance", "active", "feasible"),
    [
        ("at_most", 0, 0, True),
        ("at_most", 0, 2, True),
        ("at_most", 0, 3, False),
        ("exactly", 0, 1, False),
        ("exactly", 0, 2, True),
        ("exactly", 0, 3, False),
        ("exactly", 1, 0, False),
        ("exactly", 1, 1, True),
        ("exactly", 1, 3, True),
        ("exactly", 1, 4, False),
    ],
)
def test_optuna_knows_which_trials_are_inside_the_budget(
    rule: str, tolerance: int, active: int, feasible: bool, tmp_path: Path
) -> None:
    of = space(f"budget={{active_blocks: 2, rule: {rule}, tolerance: {tolerance}}}")
    study = create(of, None, tmp_path)
    job = study.next_trial()
    assert job is not None
    study.tell(report(job.key, active=active))
    record = study.record()
    assert record.tolerance == tolerance
    assert record.trials[0].feasible is study.inside(active) is feasible
    assert record.front == (("trial-0000",) if feasible else ())


def test_in_mode_controlled_every_trial_leaves_as_many_blocks_open_as_the_budget_has(tmp_path: Path) -> None:
    choices = "search={trials: 4, parameters: {method.rank: {choices: [1, 4]}}}"
    asked = space("budget={active_fraction: 0.125, mode: controlled}", choices, CONFIRM)
    study = create(asked, None, tmp_path)
    job = study.next_trial()
    assert job is not None and job.space.method.dump()["active_blocks"] == 4
    told = report(job.key, active=4) | {"closing_order": BLOCKS[:3]}
    told["metrics"]["lambda"] = 0.7
    study.tell(told)
    again = reopen(None, tmp_path)
    assert again.space.method.dump()["active_blocks"] == 4
    assert (again.space.baselines, again.space.confirm) == (asked.baselines, asked.confirm)
    record = again.record()
    assert record.mode == "controlled" and record.trials[0].closing_order == BLOCKS[:3]
    assert list(record.trials[0].parameters) == ["method.rank"]


@pytest.mark.parametrize("parameters", ["{}", "{method.rank: {choices: [1, 4]}}"])
def test_in_mode_mask_a_trial_has_its_blocks_as_one_parameter(
    parameters: str, url: str | None, tmp_path: Path
) -> None:
    asked = space("budget={active_blocks: 2, mode: mask}", f"search={{trials: 6, parameters: {parameters}}}")
    study = create(asked, url, tmp_path)
    jobs: list[Job] = []
    for number in range(6):
        job = study.next_trial()
        assert job is not None
        if number % 2:
            study = reopen(url, tmp_path)
            assert study.interrupted() == [job]
        mask = job.space.method.dump()["mask"]
        study.tell(report(job.key, accuracy=60 + number) | {"active": mask or BLOCKS[:2]})
        jobs.append(job)
    record = reopen(url, tmp_path).record()
    first, last = record.trials[0].parameters, record.trials[5].parameters
    assert record.mode == "mask" and first["method.active_blocks"] == 2
    assert isinstance(last["method.mask"], tuple) and len(last["method.mask"]) == 2
    assert set(last["method.mask"]) < set(BLOCKS)
    assert list(last) == [*asked.search.parameters, "method.mask"]
    for job, trial in zip(jobs, record.trials, strict=True):
        assert asked.with_values(trial.parameters) == job.space
        assert len([*trial.parameters]) == 1 + len(asked.search.parameters)


def test_the_front_is_feasible_non_dominated_and_sorted(tmp_path: Path) -> None:
    study = create(space(), None, tmp_path)
    outcomes = [(70.0, 1.0, 2), (80.0, 5.0, 2), (75.0, 6.0, 2), (99.0, 0.0, 9)]
    for accuracy, forgetting, active in outcomes:
        job = study.next_trial()
        assert job is not None
        told = report(job.key, active=active, accuracy=accuracy)
        told["metrics"]["forgetting"] = forgetting
        study.tell(told)
    assert study.record().front == ("trial-0001", "trial-0000")


def test_a_failed_trial_has_its_reason_and_no_place_on_the_front(tmp_path: Path) -> None:
    study = create(space(), None, tmp_path)
    job = study.next_trial()
    assert job is not None
    study.tell(report(job.key, state="failed", metrics={}, active=0, reason="loss became nan in epoch 2"))
    trial = study.record().trials[0]
    assert (trial.state, trial.feasible, trial.reason) == ("failed", False, "loss became nan in epoch 2")
    assert study.record().front == ()


def test_a_report_under_way_is_known_and_leaves_the_trial_running(tmp_path: Path) -> None:
    study = create(space(), None, tmp_path)
    job = study.next_trial()
    assert job is not None
    study.tell(report(job.key, state="running"))
    trial = study.record().trials[0]
    assert trial.state == "running" and trial.metrics["id_accuracy"] == 80.0
    assert study.under_way(job.key)


def test_what_was_under_way_goes_on_with_the_same_values(url: str | None, tmp_path: Path) -> None:
    study = create(space(), url, tmp_path)
    baseline, trial = study.next_baseline(), study.next_trial()
    again = reopen(url, tmp_path)
    assert again.interrupted() == [baseline, trial]
    assert again.next_baseline() is None
    assert trial is not None
    again.tell(pretend(trial))
    assert [t.state for t in again.record().trials] == ["complete"]


def test_optuna_and_its_dashboard_know_which_trials_are_inside_the_budget(tmp_path: Path) -> None:
    study = create(space(), None, tmp_path)
    for active in (2, 5):
        job = study.next_trial()
        assert job is not None
        study.tell(report(job.key, active=active, accuracy=80.0 + active))
    storage = open_storage(None, tmp_path / "study.journal")
    plain = optuna.load_study(study_name="clip_lambda", storage=storage)
    assert [list(trial.constraints.values()) for trial in plain.trials] == [[0], [3]]
    assert [trial.number for trial in plain.best_trials] == [0]
    study_id = storage.get_study_id_from_name("clip_lambda")
    with httpx.Client(transport=httpx.WSGITransport(optuna_dashboard.wsgi(storage))) as dashboard:
        answer = dashboard.get(f"http://dashboard/api/studies/{study_id}").raise_for_status().json()
    assert [trial["constraints"] for trial in answer["trials"]] == [[0], [3]]


def test_a_driver_killed_between_constraint_and_end_can_tell_again(tmp_path: Path) -> None:
    study = create(space(), None, tmp_path)
    job = study.next_trial()
    assert job is not None
    trial_id = study._trial_id("clip_lambda", 0)
    study._storage.set_trial_system_attr(trial_id, "constraints", [0])
    again = reopen(None, tmp_path)
    (job,) = again.interrupted()
    again.tell(report(job.key))
    assert again.record().trials[0].feasible


def test_a_trial_asked_for_but_not_proposed_is_proposed_as_it_would_have_been(tmp_path: Path) -> None:
    undisturbed = create(space(), None, tmp_path)
    play(undisturbed, 12)
    other = tmp_path / "other"
    other.mkdir()
    play(create(space(), None, other), 11)
    optuna.load_study(
        study_name="clip_lambda", storage=open_storage(None, other / "study.journal"), sampler=None
    ).ask()
    (job,) = reopen(None, other).interrupted()
    assert job.space == space().with_values(undisturbed.record().trials[11].parameters)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random", "grid"])
def test_proposals_do_not_depend_on_how_often_the_driver_was_killed(sampler: str, tmp_path: Path) -> None:
    asked = space(f"search.sampler={sampler}", "search.trials=6") if sampler != "grid" else _grid()
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    play(create(asked, None, undisturbed), 6)
    create(asked, None, killed)
    for _ in range(6):
        play(reopen(None, killed), 1)
    records = [reopen(None, folder).record() for folder in (undisturbed, killed)]
    assert records[0].trials == records[1].trials
    assert len({str(trial.parameters) for trial in records[0].trials}) > 1


def _grid() -> Space:
    return space(
        "search={sampler: grid, trials: 6, parameters: "
        "{method.lambda: {choices: [0.1, 1.0, 2.0]}, method.rank: {choices: [1, 4]}}}"
    )


def test_a_grid_is_walked_whole_and_without_repeats(tmp_path: Path) -> None:
    study = create(_grid(), None, tmp_path)
    play(study, 6)
    assert len({str(sorted(trial.parameters.items())) for trial in study.record().trials}) == 6


def test_no_more_trials_than_asked_for_until_more_are_asked_for(tmp_path: Path) -> None:
    study = create(space("search.trials=2"), None, tmp_path)
    play(study, 2)
    assert study.next_trial() is None
    study.asked = 3
    again = reopen(None, tmp_path)
    play(again, 1)
    assert again.next_trial() is None


def test_remains_of_a_creation_that_was_cut_off_are_replaced(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path / "study.journal")
    optuna.create_study(study_name="clip_lambda.baselines", storage=storage)
    optuna.create_study(study_name="clip_lambda", storage=storage)
    assert not SweepStudy.exists("clip_lambda", storage)
    study = create(space(), None, tmp_path)
    assert [baseline.label for baseline in study.record().baselines] == ["full"]
    assert SweepStudy.exists("clip_lambda", storage)


def test_a_journal_with_a_torn_last_line_is_mended(tmp_path: Path) -> None:
    play(create(space(), None, tmp_path), 2)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 8, "wor')
    play(reopen(None, tmp_path), 1)
    assert [trial.state for trial in reopen(None, tmp_path).record().trials] == ["complete"] * 3


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////dev/null/study.db", "postgresql://me:secret@127.0.0.1:1/optuna"]
)
def test_a_storage_that_cannot_be_opened_is_told_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--storage: .* cannot be opened") as told:
        open_storage(url, tmp_path / "study.journal")
    assert "secret" not in str(told.value)


def test_what_has_failed_can_be_tried_again_with_its_values(url: str | None, tmp_path: Path) -> None:
    study = create(space("search.trials=3"), url, tmp_path)
    baseline, *jobs = study.next_baseline(), *(study.next_trial() for _ in range(3))
    assert baseline is not None
    for job in (baseline, jobs[1]):
        study.tell(report(job.key, state="failed", reason="no space"))  # type: ignore[union-attr]
    study.tell(report("trial-0000"))

    study = reopen(url, tmp_path)
    assert study.retry_failed() == 2
    assert study.next_trial() is None, "a retry is one more trial, of those asked for"
    again = {job.key: job.space for job in reopen(url, tmp_path).interrupted()}
    assert list(again) == ["baseline-full", "trial-0002", "trial-0003"]
    assert jobs[1] is not None and again["trial-0003"] == jobs[1].space
    study.interrupted()
    study.tell(report("trial-0003"))
    study.tell(report("baseline-full", active=32))
    record = study.record()
    assert [trial.state for trial in record.trials] == ["complete", "failed", "running", "complete"]
    assert [(run.key, run.state) for run in record.baselines] == [("baseline-full", "complete")]
    assert study.retry_failed() == 0


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random", "grid", "budget"])
@pytest.mark.parametrize("seed", [4295, 2**32 - 1])
def test_every_seed_that_a_space_takes_is_one_of_every_sampler(
    sampler: str, seed: int, tmp_path: Path
) -> None:
    of = _grid() if sampler == "grid" else space()
    of = of.model_copy(update={"search": of.search.model_copy(update={"sampler": sampler, "seed": seed})})
    study = create(of, None, tmp_path)
    play(study, 5)
    assert len({str(trial.parameters) for trial in study.record().trials}) == 5


def test_a_grid_asks_for_no_more_trials_than_it_has_points(tmp_path: Path) -> None:
    of = _grid()
    study = create(
        of.model_copy(update={"search": of.search.model_copy(update={"trials": 10})}), None, tmp_path
    )
    play(study, 6)
    assert study.asked == 6 and study.next_trial() is None


def point(blocks: int, accuracy: float, forgetting: float) -> dict[str, Any]:
    metrics = {"id_accuracy": accuracy, "forgetting": forgetting, "active_blocks": blocks}
    name = f"blocks-{blocks}"
    return {"name": name, "blocks": blocks, "scaling": None, "metrics": metrics, "active": BLOCKS[:blocks]}


def test_the_points_of_a_path_stand_on_the_front_and_its_best_one_is_the_trials(
    url: str | None, tmp_path: Path
) -> None:
    asked = space("budget={active_blocks: 4, mode: path}", "search={trials: 2, parameters: {}}", CONFIRM)
    study = create(asked, url, tmp_path)
    jobs = [study.next_trial(), study.next_trial()]
    assert jobs[0] and jobs[1]
    assert jobs[0].space.method.dump()["path"]["counts"] == [32, 16, 8, 4, 2, 1]
    left = [point(32, 99, 9), point(4, 95, 2), point(2, 90, 1)]
    study.tell({**report(jobs[0].key, active=32), "state": "running", "points": left[:1]})
    assert [model.key for model in study.record().models] == ["trial-0000-blocks-32", "trial-0001"]
    assert study.record().front == ()
    study.tell({**report(jobs[0].key, active=2), "points": left, "closing_order": BLOCKS[2:]})
    study.tell({**report(jobs[1].key, active=2), "points": [point(4, 96, 3), point(2, 89, 1)]})

    again = reopen(url, tmp_path)
    record = again.record()
    assert record.front == ("trial-0001-blocks-4", "trial-0000-blocks-4", "trial-0000-blocks-2")
    assert [record.run(key).key for key in record.front] == list(record.front)
    first = record.trials[0]
    assert first.feasible and first.metrics == left[1]["metrics"] and first.active == tuple(BLOCKS[:4])
    dense, kept, _ = first.points
    assert not dense.feasible and dense.label == "0 at 32 blocks" and dense.run_key == "trial-0000"
    assert kept.closing_order == tuple(BLOCKS[4:])
    job = again.next_confirmation()
    assert job is not None and job.space.method.dump()["path"] == jobs[0].space.method.dump()["path"]
    again.tell({**report(job.key, active=2), "points": left})
    assert [m.key for m in again.record().confirmations[0].models][1] == f"{job.key}-blocks-4"


def test_as_many_paths_are_confirmed_as_are_asked_for_and_each_once(url: str | None, tmp_path: Path) -> None:
    """Three paths, of which the first has the knee and two more models on the front."""
    few = "search={trials: 3, parameters: {}}"
    study = create(
        space("budget={active_blocks: 4, mode: path}", few, "confirm={trials: 2, seeds: 2}"), url, tmp_path
    )
    jobs = [job for _ in range(3) if (job := study.next_trial())]
    left = [
        [point(4, 95, 3), point(2, 94, 1), point(1, 80, 0.5)],
        [point(4, 95.1, 3.5), point(2, 60, 2)],
        [point(4, 99, 8), point(2, 60, 2)],
    ]
    for job, points in zip(jobs, left, strict=True):
        study.tell({**report(job.key, active=2), "points": points})
    best = recommended(study.record())
    assert best is not None and best.key == "trial-0000-blocks-2" and len(study.record().front) == 5
    assert pending(study.record()) == [(0, 1001), (0, 1002), (2, 1001), (2, 1002)]


def test_limits_decide_beside_the_budget(url: str | None, tmp_path: Path) -> None:
    study = create(space('search.limits=["id_accuracy >= 70"]'), url, tmp_path)
    for accuracy, active in ((69.0, 2), (71.0, 2), (90.0, 3)):
        job = study.next_trial()
        assert job is not None
        study.tell(report(job.key, accuracy=accuracy, active=active))
    record = reopen(url, tmp_path).record()
    assert [trial.feasible for trial in record.trials] == [False, True, False]
    assert record.front == ("trial-0001",)
    # Optuna's own idea of it.
    kept = optuna.load_study(study_name="clip_lambda", storage=open_storage(url, tmp_path / "study.journal"))
    assert [trial.number for trial in kept.best_trials] == [1]


def test_what_is_enqueued_is_tried_first_and_the_rest_left_to_the_sampler(
    url: str | None, tmp_path: Path
) -> None:
    first = "search.enqueue=[{method.lambda: 0.7, method.rank: 8}, {method.rank: 1}]"
    study = create(space(first), url, tmp_path)
    jobs = [study.next_trial() for _ in range(2)]
    study = reopen(url, tmp_path)
    jobs.append(study.next_trial())
    values = [job.space.method.dump() for job in jobs if job]
    assert (values[0]["lambda"], values[0]["rank"], values[1]["rank"]) == (0.7, 8, 1)
    assert 0.01 <= values[1]["lambda"] <= 10 and len({v["lambda"] for v in values}) == 3
    assert [trial.parameters["method.rank"] for trial in study.record().trials[:2]] == [8, 1]


def test_what_is_enqueued_while_a_driver_has_the_study_begins_next(url: str | None, tmp_path: Path) -> None:
    study = create(
        space("search.trials=3", "search.enqueue=[{method.rank: 1}, {method.rank: 2}]"), url, tmp_path
    )
    play(study, 1)
    beside = SweepStudy("clip_lambda", open_storage(url, tmp_path / "study.journal"))
    assert beside.enqueue({"method.lambda": 0.7, "method.rank": 16}) == "trial-0002"
    play(study, 2)
    trials = study.record().trials
    assert [trial.parameters["method.rank"] for trial in trials] == [1, 2, 16]
    assert trials[2].parameters["method.lambda"] == 0.7


def test_what_is_enqueued_beyond_what_was_asked_for_is_trained(url: str | None, tmp_path: Path) -> None:
    study = create(space("search.trials=2"), url, tmp_path)
    play(study, 1)
    last = study.next_trial()
    assert last is not None
    beside = SweepStudy("clip_lambda", open_storage(url, tmp_path / "study.journal"))
    assert beside.enqueue({"method.rank": 8}) == "trial-0002"
    study.tell(pretend(last))
    assert study.record().asked == 3 and study.awaits_confirmation is False
    play(study, 1)
    assert study.next_trial() is None and study.record().trials[2].parameters["method.rank"] == 8
    with pytest.raises(UserError, match=r"is finished: .* `python -m sweeper resume clip_lambda --trials 4`"):
        beside.enqueue({"method.rank": 8})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["method.rank=3"], "method.rank=3: method.rank: 3 is not among what is searched of it"),
        (["method.rnk=4"], "method.rnk=4: method.rnk: is not searched; did you mean 'method.rank'?"),
        (["method.rank"], "method.rank: expects path=value, such as search.trials=64"),
        ([], "give values to begin with, of method.lambda, method.rank"),
        (
            ["method.lambda=70", "training.lr=1"],
            "method.lambda=70: method.lambda: 70 is not among what is searched of it\n"
            "training.lr=1: training.lr: is not searched; searched are method.lambda, method.rank",
        ),
    ],
)
def test_values_that_cannot_be_enqueued_are_told_at_once(values: list[str], told: str) -> None:
    with pytest.raises(UserError) as refusal:
        enqueued(space(), values)
    assert str(refusal.value) == told
