"""Trials that others clearly beat are stopped: the rule, and studies in real storages that it is held to."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import optuna
import pytest

from search_spaces import Space, load_space
from sweeper.driver.pruner import beaten_by, is_rung, judged
from sweeper.storage.optuna_storage import mend_journal, open_storage
from sweeper.study.reading import written
from sweeper.study.records import SweepRecord
from sweeper.study.sweep_study import Job, SweepStudy

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
EPOCHS = 5
GRID = (
    "search={sampler: grid, trials: 12, parameters: {method.rank: {choices: [1,2,3,4,5,6,7,8,9,10,11,12]}}}"
)


def test_rungs_are_the_powers_of_two() -> None:
    assert [epoch for epoch in range(20) if is_rung(epoch)] == [1, 2, 4, 8, 16]
    assert [epoch for epoch in range(30) if is_rung(epoch, 3)] == [3, 6, 12, 24]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([(90, 1)] * 2, 0),
        ([(90, 1)] * 3, 3),
        ([(90, 1), (80, 1), (90, 5)], 3),
        ([(90, 1), (90, 1), (80, 5)], 0),
        ([(90, 1)] * 3 + [(70, 1)] * 3, 3),
        ([(90, 1)] * 3 + [(70, 1)] * 4, 0),
    ],
    ids=["two", "three", "better in one", "an equal one", "half of them", "fewer than half"],
)
def test_a_trial_is_beaten_by_three_that_are_at_least_half(
    others: list[tuple[float, float]], expected: int
) -> None:
    assert beaten_by((80, 5), others) == expected


@pytest.mark.parametrize("seed", range(20))
def test_who_dominates_agrees_with_moocore(seed: int) -> None:
    generator = np.random.default_rng(seed)
    own = tuple(generator.integers(0, 3, 2).tolist())
    others = [tuple(point) for point in generator.integers(0, 6, (generator.integers(1, 9), 2)).tolist()]
    dominating = sum(
        not moocore.is_nondominated(
            np.array([own, other], dtype=float), maximise=[True, False], keep_weakly=True
        )[0]
        for other in others
    )
    enough = dominating >= 3 and dominating >= len(others) - dominating
    assert beaten_by(own, others) == (dominating if enough else 0)


def space(*overrides: str) -> Space:
    settings = [
        "baselines=[full]",
        "search.trials=12",
        "budget={active_blocks: 4}",
        f"training.epochs={EPOCHS}",
    ]
    return load_space("spaces/clip_lambda.yaml", [*settings, *overrides])


def create(of: Space, folder: Path) -> SweepStudy:
    folder.mkdir(exist_ok=True)
    return SweepStudy.create(
        of, BLOCKS, {"retained_accuracy": 90.0}, 1, open_storage(None, folder / "journal")
    )


def reopen(folder: Path) -> SweepStudy:
    mend_journal(folder / "journal")
    return SweepStudy("clip_lambda", open_storage(None, folder / "journal"))


def epoch_of(epoch: int, accuracy: float, forgetting: float, active: int = 2) -> dict[str, float]:
    metrics = {"epoch": epoch, "id_accuracy": accuracy, "forgetting": forgetting}
    return metrics | {"active_blocks": active, "expected_active_blocks": active + 3 // epoch}


def report(key: str, *epochs: dict[str, float], state: str = "running", **extra: Any) -> dict[str, Any]:
    told = {"key": key, "state": state, "reason": None, "metrics": epochs[-1], "epochs": list(epochs)}
    return told | {"active": BLOCKS[:2], **extra}


def test_epochs_without_a_validation_are_not_judged(tmp_path: Path) -> None:
    study = create(space("training.validate_every=2"), tmp_path / "a")
    key = study.next_trial().key
    trained: dict[str, float] = {"epoch": 1, "loss": 0.5}
    told = report(key, trained, metrics={})
    assert judged(study, [told]) == [told]
    (second,) = judged(study, [report(key, trained, epoch_of(2, 50.0, 1.0))])
    assert second["rungs"] == {2: (50.0, 1.0)}


def hear(study: SweepStudy, *reports: dict[str, Any]) -> bool:
    """What the sweep does with a result of Ray Tune. Whether the pack is stopped."""
    heard = judged(study, [told for told in reports if study.under_way(told["key"])])
    for told in heard:
        study.tell(told)
    return all(told["state"] != "running" for told in heard)


def trial(study: SweepStudy) -> str:
    job = study.next_trial()
    assert job is not None
    return job.key


def with_good_ones(study: SweepStudy, number: int = 3) -> SweepStudy:
    """Finished trials that were good at epoch 1 and 2, each a little worse than the one before."""
    for place in range(number):
        key = trial(study)
        first, second = (epoch_of(epoch, 90 - place, 1 + place) for epoch in (1, 2))
        assert not hear(study, report(key, first))
        hear(study, report(key, second, epoch_of(3, 90, 1), state="complete"))
    return study


def test_a_beaten_trial_is_pruned_and_optuna_knows(tmp_path: Path) -> None:
    study = with_good_ones(create(space(), tmp_path))
    key = trial(study)
    assert hear(study, report(key, epoch_of(1, 80, 9), curve=[{"a": 0.5}]))
    pruned = reopen(tmp_path).record().trials[3]
    assert (pruned.state, pruned.feasible, pruned.active) == ("pruned", False, ())
    assert pruned.reason == "dominated at epoch 1 by 3 of 3 trials"
    assert pruned.metrics == epoch_of(1, 80, 9)
    kept = optuna.load_study(study_name="clip_lambda", storage=open_storage(None, tmp_path / "journal"))
    assert kept.trials[3].state == optuna.trial.TrialState.PRUNED
    assert kept.trials[3].user_attrs["rungs"] == {"1": [80, 9]}
    assert [t.number for t in kept.best_trials] == [0, 1, 2]
    assert study.record().front == ("trial-0000", "trial-0001", "trial-0002")
    assert not study.under_way(key)


@pytest.mark.parametrize(
    ("epoch", "state"),
    [
        (epoch_of(1, 89.5, 3), "running"),
        (epoch_of(3, 10, 50), "running"),
        (epoch_of(1, 10, 50, active=5), "running"),
        (epoch_of(2, 10, 50, active=4), "pruned"),
    ],
    ids=["beaten by too few", "no rung", "outside the budget", "inside the budget"],
)
def test_a_trial_is_judged_at_rungs_and_only_inside_the_budget(
    epoch: dict[str, float], state: str, tmp_path: Path
) -> None:
    study = with_good_ones(create(space(), tmp_path))
    key = trial(study)
    assert hear(study, report(key, epoch)) == (state == "pruned")
    assert study.record().trials[3].state == state


def test_the_last_epoch_is_no_rung(tmp_path: Path) -> None:
    study = with_good_ones(create(space(), tmp_path))
    key = trial(study)
    assert hear(study, report(key, epoch_of(1, 10, 50), state="complete"))
    assert study.record().trials[3].state == "complete"
    assert study.rungs()[key] == {}


def test_rivals_are_the_pruned_and_the_running_inside_the_budget_at_that_epoch(tmp_path: Path) -> None:
    study = with_good_ones(create(space(), tmp_path), 2)
    outside, running, failed, late, worst = (trial(study) for _ in range(5))
    hear(study, report(outside, epoch_of(1, 95, 0, active=9)))
    hear(study, report(failed, epoch_of(1, 95, 0)))
    hear(study, report(failed, epoch_of(2, 95, 0), state="failed", reason="x", epochs=[], metrics={}))
    hear(study, report(late, epoch_of(1, 10, 60, active=9)))
    assert not hear(study, report(running, epoch_of(1, 85, 5)))
    assert hear(study, report(worst, epoch_of(1, 80, 9)))
    assert study.record().trials[6].reason == "dominated at epoch 1 by 3 of 3 trials"
    # One that was outside at epoch 1 is held against those that got as far as epoch 2.
    assert not hear(study, report(late, epoch_of(2, 80, 9)))
    assert study.rungs()[late] == {2: (80, 9)}
    last = trial(study)
    assert hear(study, report(last, epoch_of(1, 81, 8)))
    assert study.record().trials[7].reason == "dominated at epoch 1 by 3 of 4 trials"


def test_baselines_and_confirmations_are_not_judged(tmp_path: Path) -> None:
    study = with_good_ones(create(space("confirm={trials: 1, seeds: 2}", "search.trials=3"), tmp_path))
    baseline, confirmation = study.next_baseline(), study.next_confirmation()
    assert baseline is not None and confirmation is not None
    for job in (baseline, confirmation):
        assert not hear(study, report(job.key, epoch_of(1, 10, 50)))
        assert study.under_way(job.key)


def test_a_pack_goes_on_without_its_pruned_members_and_stops_when_all_have_ended(tmp_path: Path) -> None:
    study = with_good_ones(create(space(), tmp_path))
    good, bad = trial(study), trial(study)
    assert not hear(study, report(good, epoch_of(1, 91, 0.5)), report(bad, epoch_of(1, 10, 50)))
    assert [t.state for t in study.record().trials[3:]] == ["running", "pruned"]
    # The pruned one is still trained by its actor, and reported.
    assert not hear(study, report(good, epoch_of(2, 91, 0.5)), report(bad, epoch_of(2, 99, 0)))
    assert study.record().trials[4].metrics["epoch"] == 1
    assert hear(
        study,
        report(good, epoch_of(3, 91, 0.5), state="complete"),
        report(bad, epoch_of(3, 99, 0), state="complete"),
    )
    assert [t.state for t in study.record().trials[3:]] == ["complete", "pruned"]


def test_members_of_a_pack_are_held_against_each_other(tmp_path: Path) -> None:
    study = create(space(), tmp_path)
    keys = [trial(study) for _ in range(4)]
    assert not hear(study, *(report(key, epoch_of(1, 80 + n, 9 - n)) for n, key in enumerate(keys)))
    states = [t.state for t in study.record().trials]
    assert states == ["pruned", "running", "running", "running"]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random", "grid", "budget"])
def test_samplers_go_on_from_pruned_trials(sampler: str, tmp_path: Path) -> None:
    asked = space(GRID) if sampler == "grid" else space(f"search.sampler={sampler}")
    study = create(asked, tmp_path)
    with_good_ones(study)
    for n in range(9):
        key = trial(study)
        if n % 2:
            assert hear(study, report(key, epoch_of(1, 50 - n, 20 + n)))
        else:
            hear(study, report(key, epoch_of(1, 88, 3), epoch_of(2, 88, 3, active=3 + n), state="complete"))
    assert study.next_trial() is None
    record = study.record()
    assert sum(t.state == "pruned" for t in record.trials) == 4
    assert len({str(t.parameters) for t in record.trials}) > 6
    if sampler == "grid":
        assert len({t.parameters["method.rank"] for t in record.trials}) == 12


def curve(job: Job) -> list[dict[str, float]]:
    """Epochs that depend on the values alone: the larger the rank, the worse in both objectives."""
    method = job.space.method.dump()
    rank, active = method["rank"], 5 if method["lambda"] < 0.5 else 2
    return [epoch_of(n, 60 + 5 * n - rank, rank / n, active) for n in range(1, EPOCHS + 1)]


def reports(job: Job, done: int) -> Iterator[dict[str, Any]]:
    """What an actor reports that goes on after so many epochs: at first those from before as well."""
    epochs, first = curve(job), min(done + 1, EPOCHS)
    for epoch in range(first, EPOCHS + 1):
        new = epochs[:epoch] if epoch == first else epochs[epoch - 1 : epoch]
        state = "complete" if epoch == EPOCHS else "running"
        yield report(job.key, *new, state=state)


def undisturbed(folder: Path, of: Space) -> SweepRecord:
    study = create(of, folder)
    while job := study.next_trial():
        for told in reports(job, 0):
            if hear(study, told):
                break
    return study.record()


def killed(folder: Path, of: Space, moment: str) -> SweepRecord:
    """The driver is killed at every second report. The checkpoint of the epoch has been written by then."""
    study, heard = create(of, folder), count()
    while job := study.next_trial():
        done = 0
        while study.under_way(job.key):
            for told in reports(job, done):
                if next(heard) % 2:
                    done = int(told["epochs"][-1]["epoch"])
                    half_hear(study, told, moment)
                    study = reopen(folder)
                    study.interrupted()
                    break
                if hear(study, told):
                    break
    return study.record()


def half_hear(study: SweepStudy, told: dict[str, Any], moment: str) -> None:
    """As `hear`, up to the moment."""
    if moment == "heard":
        hear(study, told)
    elif moment != "unheard":
        (told,) = judged(study, [told])
        if moment == "half told":
            trial = study._under_way[told["key"]]
            trial.set_user_attr("metrics", dict(told["metrics"]))
            trial.set_user_attr("rungs", trial.user_attrs.get("rungs", {}) | written(told.get("rungs", {})))


@pytest.mark.parametrize("sampler", ["tpe", "budget"])
@pytest.mark.parametrize("moment", ["unheard", "judged", "half told", "heard"])
def test_a_sweep_that_is_killed_prunes_and_proposes_as_if_it_had_not_been(
    moment: str, sampler: str, tmp_path: Path
) -> None:
    of = space(f"search.sampler={sampler}")
    expected = undisturbed(tmp_path / "undisturbed", of)
    reasons = [trial.reason for trial in expected.trials if trial.state == "pruned"]
    assert 0 < len(reasons) < len(expected.trials)
    assert killed(tmp_path / "killed", of, moment).trials == expected.trials
