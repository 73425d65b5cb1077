"""Parameters that only some trials are asked for, with Optuna's own samplers."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution

from search_spaces import Space, load_space
from sweeper.search.samplers import make_sampler
from sweeper.search.spread import STARTUP
from sweeper.search.suggest import distributions, suggest

BLOCKS = tuple("abcd")
SHIPPED = Path(__file__).parents[3] / "spaces" / "clip_lambda.yaml"
METHODS = """search.parameters={
    method.lambda: {low: 0.01, high: 10, log: true, when: {method.name: selective_lora}},
    method.kappa: {low: 1.0e-4, high: 0.1, log: true, when: {method.name: codyra}},
    method.name: {choices: [selective_lora, lora, codyra]},
    method.alpha: {choices: [null, 8], when: {method.name: [lora, codyra]}},
    training.retention: {low: 0.1, high: 1, when: {method.alpha: null}},
    method.rank: {low: 1, high: 8}}"""

PENALTY = """search.parameters={
    method.lambda: {low: 0.01, high: 10, log: true},
    method.penalty: {choices: [mean, sum]},
    method.rank: {choices: [1, 2], when: {method.penalty: sum}}}"""


def space(sampler: str, *changes: str) -> Space:
    every = ["baselines=[]", "budget={active_fraction: 1}", f"search.sampler={sampler}", METHODS, *changes]
    return load_space(SHIPPED, every)


def by_hand(trial: optuna.Trial) -> dict[str, Any]:
    """The same as a person would write it in Optuna."""
    values: dict[str, Any] = {}
    name = trial.suggest_categorical("method.name", ["selective_lora", "lora", "codyra"])
    if name == "selective_lora":
        values["method.lambda"] = trial.suggest_float("method.lambda", 0.01, 10, log=True)
    if name == "codyra":
        values["method.kappa"] = trial.suggest_float("method.kappa", 1e-4, 0.1, log=True)
    values["method.name"] = name
    if name in ("lora", "codyra"):
        values["method.alpha"] = trial.suggest_categorical("method.alpha", [None, 8])
        if values["method.alpha"] is None:
            values["training.retention"] = trial.suggest_float("training.retention", 0.1, 1)
    values["method.rank"] = trial.suggest_int("method.rank", 1, 8)
    return values


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_trial_is_asked_for_what_its_conditions_say(sampler: str, tmp_path: Path) -> None:
    of = space(sampler)
    found = play(of, 40, journal(tmp_path))
    assert Counter(len(values) for values in found).keys() == {3, 4, 5}
    for values in found:
        again = by_hand(optuna.trial.FixedTrial(values))  # type: ignore[arg-type]
        assert again == values and list(values) == [path for path in of.search.parameters if path in values]
        flat = of.with_values(values).flat()
        assert {path: flat.get(path) for path in values} == values


def test_what_is_drawn_from_is_what_optuna_keeps(tmp_path: Path) -> None:
    study = journal(tmp_path)
    of = space("random")
    play(of, 30, study)
    kept = {name: d for trial in study.trials for name, d in trial.distributions.items()}
    assert kept == distributions(of)


def test_tpe_learns_what_only_some_trials_are_asked_for(tmp_path: Path) -> None:
    """The best kappa is 0.01, that of lambda does not matter: a sampler that does not learn draws evenly."""
    study = journal(tmp_path)
    of = space("tpe")
    found = play(of, 60, study, goal=lambda values: abs(math.log10(values.get("method.kappa", 100)) + 2))
    late = [values["method.kappa"] for values in found[STARTUP + 20 :] if "method.kappa" in values]
    near = [kappa for kappa in late if abs(math.log10(kappa) + 2) < 0.5]
    assert len(late) >= 10
    assert len(near) > 2 * len(late) / 3  # evenly, a third
    sampler = make_sampler(of, 60, BLOCKS)
    relative = sampler.infer_relative_search_space(study, study.ask()._cached_frozen_trial)
    assert relative.keys() == of.search.parameters.keys()


def test_the_first_draws_are_spread_among_the_conditions(tmp_path: Path) -> None:
    found = play(space("tpe", PENALTY), 8, journal(tmp_path))
    assert Counter(values["method.penalty"] for values in found) == {"mean": 4, "sum": 4}
    assert Counter("method.rank" in values for values in found) == {True: 4, False: 4}


def test_a_price_that_is_looked_for_goes_with_conditions(tmp_path: Path) -> None:
    found = play(space("budget", PENALTY), 20, journal(tmp_path))
    assert {tuple(values) for values in found} == {
        ("method.lambda", "method.penalty"),
        ("method.lambda", "method.penalty", "method.rank"),
    }
    assert all(("method.rank" in values) == (values["method.penalty"] == "sum") for values in found)


def journal(folder: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.create_study(study_name="s", storage=storage, directions=["maximize", "minimize"])


def play(of: Space, trials: int, study: optuna.Study, goal: Any = lambda values: 1.0) -> list[dict[str, Any]]:
    """Trials one after the other, each with a sampler of its own, as a sweep has them."""
    found = []
    for number in range(trials):
        study.sampler = make_sampler(of, number, BLOCKS)
        trial = study.ask()
        found.append(suggest(of, trial))
        study._storage.set_trial_system_attr(trial._trial_id, "constraints", [0.0])
        trial.set_user_attr("metrics", {"epoch": 1})
        study.tell(trial, [-goal(found[-1]), goal(found[-1])])
    return found


def test_ranges_are_kept_as_they_are() -> None:
    assert distributions(space("tpe"))["training.retention"] == FloatDistribution(0.1, 1)
