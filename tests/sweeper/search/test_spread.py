"""The first draws of a search, held against Optuna's own quasi-random sampler."""

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import QMCSampler, TPESampler

from search_spaces import load_space
from sweeper.search.samplers import make_sampler, propose
from sweeper.search.spread import STARTUP, SpreadStart
from sweeper.search.suggest import suggest

SHIPPED = Path(__file__).parents[3] / "spaces" / "clip_lambda.yaml"
DOMAINS: dict[str, BaseDistribution] = {
    "a": FloatDistribution(1e-3, 1e-2, log=True),
    "b": FloatDistribution(0.0, 0.5),
    "c": FloatDistribution(0.0, 0.4, step=0.2),
    "d": IntDistribution(1, 9, step=4),
    "e": IntDistribution(8, 64, log=True),
    "f": CategoricalDistribution(("x", "y", "z")),
}


def test_the_points_are_those_of_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna counts its points in the study, and seeds them by numpy's older generator: so both are set."""
    study = optuna.create_study()
    ours = SpreadStart(TPESampler(seed=0), list(DOMAINS), seed=3)
    for number in range(8):
        theirs = QMCSampler(scramble=True, seed=3)
        monkeypatch.setattr(theirs, "_seed", np.random.default_rng(3))
        monkeypatch.setattr(theirs, "_find_sample_id", lambda study, space, number=number: number)
        study.ask()
        frozen = study.get_trials()[number]
        expected = theirs.sample_relative(study, frozen, DOMAINS)
        found = {name: ours.sample_independent(study, frozen, name, DOMAINS[name]) for name in DOMAINS}
        assert found.pop("f") == expected.pop("f")
        assert found == pytest.approx(expected)
        assert all(DOMAINS[name]._contains(value) for name, value in found.items())


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "budget"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_first_draws_cover_the_range_and_depend_on_the_seed_and_the_number_alone(sampler: str) -> None:
    low, high = 1e-3, 1e-2
    space = load_space(
        SHIPPED,
        [
            f"search.sampler={sampler}",
            "search.parameters={training.lr: {low: 1e-3, high: 1e-2, log: true},"
            " method.lambda: {low: 0.01, high: 10, log: true}}",
        ],
    )

    def rates(seed: int, resumed_at: int | None = None) -> list[float]:
        of = space.with_values({"search.seed": seed}) if seed else space
        study = optuna.create_study(directions=["maximize", "minimize"])
        drawn = []
        for number in range(8):
            if number == resumed_at:
                again = optuna.create_study(directions=["maximize", "minimize"])
                again.add_trials(study.get_trials())
                study = again
            study.sampler = make_sampler(of, number, [f"image.{i}.qkv" for i in range(32)])
            trial = study.ask()
            drawn.append(propose(of, trial, [])["training.lr"])
            if sampler != "budget":
                study.tell(trial, [0.5, 0.1])
        return drawn

    found = rates(0)
    for first in range(0, 8, 4):
        quarters = {int(4 * math.log(rate / low) / math.log(high / low)) for rate in found[first : first + 4]}
        assert quarters == {0, 1, 2, 3}
    assert rates(0) == rates(0, resumed_at=5) == found


def test_what_has_been_learned_is_used_afterwards() -> None:
    space = load_space(SHIPPED, ["search.sampler=tpe"])
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number in range(STARTUP + 3):
        study.sampler = make_sampler(space, number, ())
        trial = study.ask()
        values = suggest(space, trial)
        study.tell(trial, [0.5, math.log(values["method.lambda"])])
    own = optuna.create_study(directions=["maximize", "minimize"])
    own.add_trials(study.get_trials()[:-1])
    own.sampler = TPESampler(
        multivariate=True, constant_liar=True, seed=(space.search.seed * 1_000_003 + STARTUP + 2) % 2**32
    )
    assert suggest(space, own.ask()) == study.get_trials()[-1].params
