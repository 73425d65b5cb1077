"""A sweep whose trials are asked for different parameters, as it is kept, resumed, and taken over."""

from pathlib import Path

import pytest
from optuna.trial import FrozenTrial
from test_taken_over import BLOCKS, create, taken

from search_spaces import Space, load_space
from sweeper.errors import UserError
from sweeper.report import front_table, trials_frame
from sweeper.report.page import page
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.changes import enqueued
from sweeper.study.reading import space_of
from sweeper.study.sweep_study import Job, SweepStudy

METHODS = """search.parameters={
    method.lambda: {low: 0.01, high: 10, log: true, when: {method.name: selective_lora}},
    method.kappa: {low: 1.0e-4, high: 0.1, log: true, when: {method.name: codyra}},
    method.name: {choices: [selective_lora, lora, codyra]},
    method.rank: {choices: [1, 4]}}"""
SETTINGS = ("search.sampler=tpe", "search.trials=16", "budget={active_fraction: 1}", "baselines=[]")


def space(name: str, *changes: str) -> Space:
    return load_space("spaces/clip_lambda.yaml", [f"sweep={name}", *SETTINGS, METHODS, *changes])


def end(study: SweepStudy, job: Job | None, state: str = "complete") -> None:
    assert job is not None
    accuracy = 60.0 + int(job.key.split("-")[1])
    metrics = {"id_accuracy": accuracy, "forgetting": 2.0, "active_blocks": 32, "epoch": 3}
    study.tell({"key": job.key, "state": state, "metrics": metrics, "active": BLOCKS, "reason": None})


def play(study: SweepStudy, count: int) -> None:
    for _ in range(count):
        end(study, study.next_trial())


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [int(trial.user_attrs["taken_over"].rpartition("-")[2]) for trial in trials]


def test_a_killed_driver_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder in (calm, killed):
        folder.mkdir()
    undisturbed = create(space("one"), None, calm)
    play(undisturbed, 16)
    study = create(space("one"), None, killed)
    for _ in range(16):
        study.next_trial()
        study = SweepStudy("one", open_storage(None, killed / "one.journal"))
        (job,) = study.interrupted()
        end(study, job)
    found, expected = study.record().trials, undisturbed.record().trials
    assert [trial.parameters for trial in found] == [trial.parameters for trial in expected]
    assert {trial.method for trial in found} == {"selective_lora", "lora", "codyra"}


def test_a_run_is_of_its_own_method(tmp_path: Path) -> None:
    study = create(space("one", "confirm={trials: 1, seeds: 2}"), None, tmp_path)
    play(study, 16)
    record = study.record()
    for trial in record.trials:
        assert space_of(study.space, record, trial).method.name == trial.method
        assert trial.parameters["method.name"] == trial.method
    again = study.next_confirmation()
    assert again is not None
    run = study.record().confirmations[0]
    assert again.space.method.name == run.method == record.run(f"trial-{int(run.group):04d}").method
    assert again.space == study.space.with_values(
        {**record.trials[int(run.group)].parameters, "training.seed": 1001}
    )


def test_what_has_failed_begins_again_with_the_values_that_it_had(tmp_path: Path) -> None:
    study = create(space("one"), None, tmp_path)
    end(study, first := study.next_trial(), "failed")
    study.retry_failed()
    (again,) = study.interrupted()
    assert first is not None and again.space == first.space


def test_a_trial_that_is_named_is_asked_for_what_its_own_values_say(tmp_path: Path) -> None:
    study = create(space("one"), None, tmp_path)
    study.enqueue(enqueued(study.space, ["method.kappa=0.01", "method.name=codyra"]))
    job = study.next_trial()
    assert job is not None and job.space.method.dump()["kappa"] == 0.01
    with pytest.raises(UserError) as refusal:
        enqueued(study.space, ["method.kappa=0.01", "method.name=lora"])
    assert str(refusal.value) == (
        "method.kappa=0.01: method.kappa: is asked for only when method.name is codyra; give this trial that "
        "too, or leave this out"
    )


def test_the_tables_have_what_each_trial_was_asked_for(tmp_path: Path) -> None:
    study = create(space("one"), None, tmp_path)
    play(study, 16)
    record = study.record()
    frame = trials_frame(record).set_index("key")
    parameters = list(study.space.search.parameters)
    assert [name for name in frame.columns if name in parameters] == parameters
    for trial in record.trials:
        asked = {name for name in parameters if not frame[name].isna()[trial.key]}
        assert asked == set(trial.parameters)
    assert str(front_table(record).columns[1].header) == "lambda"
    assert "What the parameters do" in page(record)


def test_trials_are_taken_over_by_what_they_were_asked_for(tmp_path: Path) -> None:
    first = create(space("first"), None, tmp_path)
    play(first, 16)
    methods = [trial.method for trial in first.record().trials]
    every = create(of := space("second"), None, tmp_path, *taken(first, of))
    assert [t.parameters for t in every.record().trials] == [t.parameters for t in first.record().trials]

    two = space("two", "search.parameters.method.name.choices=[selective_lora, codyra]")
    assert numbers(taken(first, two)) == [n for n, method in enumerate(methods) if method != "lora"]

    fixed = "search.parameters={method.rank: {choices: [1, 4]}, method.lambda: {low: 0.01, high: 10}}"
    alone = taken(first, space("alone", fixed))
    assert numbers(alone) == [n for n, method in enumerate(methods) if method == "selective_lora"]
    assert {tuple(trial.params) for trial in alone} == {("method.rank", "method.lambda")}

    other = space("other", "search.parameters.method.kappa={low: 0.2, high: 1, when: {method.name: codyra}}")
    assert numbers(taken(first, other)) == [n for n, method in enumerate(methods) if method != "codyra"]


def test_a_setting_of_a_method_that_is_not_searched_has_to_be_equal(tmp_path: Path) -> None:
    first = create(space("first"), None, tmp_path)
    play(first, 16)
    methods = [trial.method for trial in first.record().trials]
    # codyra has no threshold, and lora neither
    changed = taken(first, space("second", "method.threshold=0.05"))
    assert numbers(changed) == [n for n, method in enumerate(methods) if method != "selective_lora"]
    assert taken(first, space("third", "method.alpha=3.0")) == []


def test_a_sweep_of_one_method_begins_one_of_several(tmp_path: Path) -> None:
    price = "method.lambda: {low: 0.01, high: 10, log: true}"
    plain = f"search.parameters={{{price}, method.rank: {{choices: [1, 4]}}}}"
    first = create(space("first", plain), None, tmp_path)
    play(first, 4)
    (trial, *others) = taken(first, space("second"))
    assert len(others) == 3
    assert trial.params["method.name"] == "selective_lora" and "method.kappa" not in trial.params
    unasked = "search.parameters.training.lr={low: 1.0e-4, high: 0.1, when: {method.name: lora}}"
    assert len(taken(first, space("third", unasked))) == 4
    asked = "search.parameters.training.lr={choices: [0.5], when: {method.name: selective_lora}}"
    assert taken(first, space("fourth", asked)) == []
