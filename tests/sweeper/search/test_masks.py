"""Sets of blocks, proposed on studies of Optuna whose objectives are known functions of the set."""

from collections import Counter

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler

from sweeper.search.masks import PREFIX, MaskSampler, folded

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(4) for kind in ("qkv", "proj", "fc1", "fc2"))
GOOD = BLOCKS[5:8]


def ask(study: optuna.Study, budget: int, seed: int) -> tuple[optuna.Trial, tuple[str, ...]]:
    study.sampler = MaskSampler(BLOCKS, budget, TPESampler(seed=seed), seed)
    trial = study.ask()
    chosen = tuple(block for block in BLOCKS if trial.suggest_categorical(PREFIX + block, (False, True)))
    return trial, chosen


def make_study() -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"])


def controlled(study: optuna.Study, order: tuple[str, ...]) -> None:
    """A trial whose count fell, and closed blocks in this order."""
    trial = study.ask()
    trial.set_user_attr("closing_order", list(order))
    trial.set_user_attr("active", [block for block in BLOCKS if block not in order])
    trial.set_constraint("budget", 0)
    study.tell(trial, [0.5, 0.5])


@pytest.mark.parametrize("budget", [1, 3, 16])
def test_every_set_has_as_many_blocks_as_the_budget(budget: int) -> None:
    study = make_study()
    for seed in range(12):
        trial, chosen = ask(study, budget, seed)
        assert len(chosen) == budget
        trial.set_constraint("budget", 0)
        study.tell(trial, [seed % 3, seed % 5])


def test_the_first_sets_follow_the_order_of_closing() -> None:
    order = tuple(block for block in BLOCKS if block not in GOOD)
    study = make_study()
    controlled(study, order)
    drawn = Counter(block for seed in range(60) for block in ask(study, 3, seed)[1])
    likely = np.mean([drawn[block] for block in GOOD])
    late, early = (np.mean([drawn[block] for block in part]) for part in (order[-4:], order[:4]))
    assert likely > late > early


def test_no_set_is_proposed_twice_while_others_are_left() -> None:
    study, seen = make_study(), set()
    for seed in range(30):
        trial, chosen = ask(study, 2, seed)
        seen.add(chosen)
        trial.set_constraint("budget", 0)
        study.tell(trial, [0.0, 0.0])
    assert len(seen) == 30


def test_it_learns_which_blocks_are_good() -> None:
    """Better than drawing at random, on a function of how many good blocks are in the set."""

    def found(random: bool) -> float:
        best = []
        for repeat in range(8):
            study, worth = make_study(), []
            for number in range(40):
                seed = 100 * repeat + number
                if random:
                    chosen = tuple(np.random.default_rng(seed).permutation(BLOCKS)[:3])
                else:
                    trial, chosen = ask(study, 3, seed)
                    trial.set_constraint("budget", 0)
                    study.tell(trial, [len(set(chosen) & set(GOOD)), 0.0])
                worth.append(len(set(chosen) & set(GOOD)))
            best.append(np.mean(worth[20:]))
        return float(np.mean(best))

    assert found(random=False) > 2 * found(random=True)


def test_other_values_are_the_other_samplers() -> None:
    """The same values as without masks, seed by seed."""
    for seed in range(3):
        values = []
        for sampler in (RandomSampler(seed), MaskSampler(BLOCKS, 3, RandomSampler(seed), seed)):
            trial = optuna.create_study(sampler=sampler).ask()
            values.append(trial.suggest_float("training.lr", 1e-4, 1e-1, log=True))
        assert values[0] == values[1]


def test_a_proposal_depends_on_seed_and_trials_alone() -> None:
    chosen = []
    for _ in range(2):
        study = make_study()
        controlled(study, BLOCKS[3:])
        chosen.append([ask(study, 3, seed)[1] for seed in range(5)])
    assert chosen[0] == chosen[1]


def test_parameters_are_read_back_as_one_mask() -> None:
    params = {"method.rank": 4, PREFIX + "image.0.qkv": True, PREFIX + "image.0.fc1": False}
    assert folded(params) == {"method.rank": 4, "method.mask": ("image.0.qkv",)}
    assert folded({"method.rank": 4}) == {"method.rank": 4}
