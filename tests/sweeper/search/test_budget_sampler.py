"""The sampler on studies of Optuna, with curves of active blocks that are made up."""

import math
from collections.abc import Callable

import numpy as np
import optuna
import pytest

from sweeper.search.budget_sampler import PRICE, BudgetSampler

Curve = Callable[[float, int], int]
RANKS = (1, 2, 4, 8, 16)
MOST = 12


def smooth(price: float, rank: int) -> int:
    """A power of the price; higher ranks leave more blocks open."""
    return min(32, round(2 * (price / (0.7 + 0.05 * rank)) ** -1.6))


def cliff(price: float, rank: int) -> int:
    """All, or a few."""
    return 32 if price < 0.5 else min(32, int(3.2 / price))


def steep(price: float, rank: int) -> int:
    return min(32, round(2 * (price / 3) ** -3))


def flat(price: float, rank: int) -> int:
    return min(32, round(2 * (price / 0.4) ** -0.6))


def run(curve: Curve, seed: int, sampler: str = "budget", budget: int = 2) -> list[int]:
    """Active blocks of MOST trials, one after the other."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    counts = []
    for number in range(MOST):
        own = 1000 * seed + number
        study.sampler = (
            BudgetSampler(budget, budget, 3, own)
            if sampler == "budget"
            else optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=own)
        )
        trial = study.ask()
        rank = trial.suggest_categorical("method.rank", RANKS)
        counts.append(curve(trial.suggest_float(PRICE, 0.01, 10, log=True), rank))
        trial.set_user_attr("metrics", {"epoch": 3, "expected_active_blocks": counts[-1]})
        trial.set_constraint("budget", abs(counts[-1] - budget))
        study.tell(trial, [0.5 + 0.01 * counts[-1], 0.1 * counts[-1]])
    return counts


@pytest.mark.parametrize("curve", [smooth, cliff, steep, flat])
@pytest.mark.parametrize("budget", [1, 2, 5])
def test_the_budget_is_found_soon_and_kept(curve: Curve, budget: int) -> None:
    first, share = [], []
    for seed in range(10):
        met = [count == budget for count in run(curve, seed, budget=budget)]
        first.append(met.index(True) + 1 if any(met) else MOST + 1)
        share.append(np.mean(met))
    assert np.median(first) <= 6 and max(first) <= MOST
    assert np.mean(share) > 0.2


def test_it_finds_it_sooner_than_tpe() -> None:
    ours, theirs = (
        [sum(c == 2 for c in run(smooth, s, kind)) for s in range(10)] for kind in ("budget", "tpe")
    )
    assert np.mean(ours) > 2 * np.mean(theirs)


def test_a_proposal_depends_on_seed_and_trials_alone() -> None:
    assert run(smooth, 3) == run(smooth, 3)


def test_prices_fill_the_range_while_nothing_is_known() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    prices = []
    for number in range(8):
        study.sampler = BudgetSampler(2, 2, 3, number)
        prices.append(math.log10(study.ask().suggest_float(PRICE, 0.01, 100, log=True)))
    assert prices[0] == pytest.approx(0)
    gaps = np.diff(sorted([-2.0, *prices, 2.0]))
    assert gaps.max() < 1.0


def test_trials_under_way_are_learned_from() -> None:
    """A trial that expects far too many blocks drives the next price up, before it has ended."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=BudgetSampler(2, 2, 3, 0))
    running = study.ask()
    first = running.suggest_float(PRICE, 0.01, 10, log=True)
    running.set_user_attr("metrics", {"epoch": 1, "expected_active_blocks": 30})
    assert study.ask().suggest_float(PRICE, 0.01, 10, log=True) > 1.5 * first


def test_a_price_stays_in_its_range() -> None:
    for active in (0, 32):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=BudgetSampler(2, 2, 3, 0))
        for _ in range(4):
            trial = study.ask()
            assert 0.9 <= trial.suggest_float(PRICE, 0.9, 1.1, log=True) <= 1.1
            trial.set_user_attr("metrics", {"epoch": 3, "expected_active_blocks": active})
            trial.set_constraint("budget", abs(active - 2))
            study.tell(trial, [1.0, 0.0])


def test_other_values_are_tried_again_until_the_budget_is_met() -> None:
    """Those of the trial that came nearest."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number, active in enumerate((20, 3, 8)):
        study.sampler = BudgetSampler(2, 2, 3, number)
        trial = study.ask()
        rank = trial.suggest_int("method.rank", 1, 1000)
        if active == 3:
            nearest = rank
        trial.suggest_float(PRICE, 0.01, 10, log=True)
        trial.set_user_attr("metrics", {"epoch": 3, "expected_active_blocks": active})
        trial.set_constraint("budget", abs(active - 2))
        study.tell(trial, [1.0, 0.0])
    study.sampler = BudgetSampler(2, 2, 3, 99)
    assert study.ask().suggest_int("method.rank", 1, 1000) == nearest


def test_once_the_budget_is_met_every_second_trial_tries_values_again_that_missed_it() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    ranks = []
    for number, active in enumerate((9, 2, 4)):
        study.sampler = BudgetSampler(2, 2, 3, number)
        study.enqueue_trial({"method.rank": 100 + number})
        trial = study.ask()
        ranks.append(trial.suggest_int("method.rank", 1, 1000))
        trial.suggest_float(PRICE, 0.01, 10, log=True)
        trial.set_user_attr("metrics", {"epoch": 3, "expected_active_blocks": active})
        trial.set_constraint("budget", abs(active - 2))
        study.tell(trial, [1.0, 0.0])
    asked = []
    for number in (3, 4):
        study.sampler = BudgetSampler(2, 2, 3, number)
        asked.append(study.ask().suggest_int("method.rank", 1, 1000))
    assert asked[0] not in ranks
    assert asked[1] == ranks[2]


def test_trials_that_are_asked_for_together_have_values_of_their_own() -> None:
    """A pack's trials are proposed one after the other before any of them has ended."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    proposed: list[tuple[int, float]] = []
    for pack in range(4):
        trials = []
        for place in range(2):
            study.sampler = BudgetSampler(2, 2, 3, 100 + 2 * pack + place)
            trial = study.ask()
            rank = trial.suggest_categorical("method.rank", RANKS)
            trials.append((trial, rank, trial.suggest_float(PRICE, 0.01, 10, log=True)))
        for trial, rank, price in trials:
            count = cliff(price, rank)
            trial.set_user_attr("metrics", {"epoch": 3, "expected_active_blocks": count})
            trial.set_constraint("budget", abs(count - 2))
            study.tell(trial, [0.5, 0.1])
            proposed.append((rank, price))
    assert len(set(proposed)) == len(proposed)
