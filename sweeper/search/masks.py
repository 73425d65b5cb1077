"""An Optuna sampler of sets: which blocks train."""

from collections.abc import Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Space

PREFIX = "mask."
_CANDIDATES = 24
_IN_OR_OUT = CategoricalDistribution((False, True))


def suggest_mask(space: Space, trial: optuna.Trial, blocks: Sequence[str], budget: int) -> dict[str, Any]:
    """How a trial of a sweep in mode mask chooses its blocks.

    The first trials are controlled, and rank the blocks: a quarter of them, or one where nothing else is
    searched, for then they would be equal. The others get the set that the sampler proposes.
    """
    ranked = max(1, space.search.trials // 4) if space.search.parameters else 1
    if trial.number < ranked:
        return {"method.active_blocks": budget}
    # Every block is asked, also when enough are found: the parameters of all trials are the same.
    asked = {block: trial.suggest_categorical(PREFIX + block, (False, True)) for block in blocks}
    return {"method.mask": [block for block, is_in in asked.items() if is_in]}


class MaskSampler(BaseSampler):
    """Proposes sets of ``budget`` blocks as TPE would, and leaves all else to another sampler.

    Trials inside the budget are split into the front and the rest (TPE with several objectives: Ozaki et
    al., GECCO 2020). For each block, l is how often it is in a set of the front and g how often in one of
    the rest; both start from a prior trial, in l by the order in which controlled trials closed the blocks,
    in g without any order. Sets are drawn, half of them from l, and the untried one with the largest sum of
    log(l / g) is proposed (Bergstra et al., NeurIPS 2011, equation 2, over sets).
    """

    def __init__(self, blocks: Sequence[str], budget: int, others: BaseSampler, seed: int) -> None:
        self._blocks, self._budget = list(blocks), budget
        self._others = others
        self._generator = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All blocks, and what the other sampler samples together."""
        others = self._others.infer_relative_search_space(study, trial)
        others = {name: value for name, value in others.items() if not name.startswith(PREFIX)}
        return others | {PREFIX + block: _IN_OR_OUT for block in self._blocks}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A set, as one boolean a block, and the other sampler's values."""
        others = {name: value for name, value in search_space.items() if not name.startswith(PREFIX)}
        values = self._others.sample_relative(study, trial, others)
        chosen = self._propose(study)
        return values | {
            PREFIX + block: bool(is_in) for block, is_in in zip(self._blocks, chosen, strict=True)
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The other sampler's."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def _propose(self, study: Study) -> NDArray[np.bool_]:
        trials = study.get_trials(deepcopy=False)
        best = _best(trials)
        sets = {trial.number: chosen for trial in trials if (chosen := self._chosen(trial)).any()}
        front = [chosen for number, chosen in sets.items() if number in best]
        rest = [chosen for number, chosen in sets.items() if number not in best]
        orders = [o for trial in trials if (o := trial.user_attrs.get("closing_order"))]
        likely = _frequency(front, self._prior(orders))
        unlikely = _frequency(rest, np.full(len(self._blocks), self._budget / len(self._blocks)))
        # Some from the whole range, so that there always are sets that have not been tried.
        weights = (np.log(likely), np.zeros(len(likely)))
        drawn = [self._draw(own) for own in weights for _ in range(_CANDIDATES)]
        tried = {chosen.tobytes() for chosen in sets.values()}
        gain = np.log(likely / unlikely)
        return max(drawn, key=lambda chosen: (chosen.tobytes() not in tried, float(gain[chosen].sum())))

    def _chosen(self, trial: FrozenTrial) -> NDArray[np.bool_]:
        """The set of a trial: as it was proposed, or as a controlled trial ended with."""
        active = trial.user_attrs.get("active", ()) if trial.state == TrialState.COMPLETE else ()
        return np.array([trial.params.get(PREFIX + block, block in active) for block in self._blocks])

    def _prior(self, orders: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """Weight of each block: 1 if it stayed open, else budget / place, the last that closed first."""
        weights = np.ones((max(1, len(orders)), len(self._blocks)), dtype=np.float64)
        for row, order in zip(weights, orders, strict=False):
            for place, block in enumerate(reversed(order), start=self._budget + 1):
                row[self._blocks.index(block)] = self._budget / place
        prior: NDArray[np.float64] = self._budget * weights.sum(axis=0) / weights.sum()
        return prior

    def _draw(self, log_weights: NDArray[np.float64]) -> NDArray[np.bool_]:
        """A set drawn without replacement, by the Gumbel-top-k trick (Kool et al., ICML 2019)."""
        keys = log_weights + self._generator.gumbel(size=len(log_weights))
        chosen = np.zeros(len(keys), dtype=np.bool_)
        chosen[np.argsort(-keys)[: self._budget]] = True
        return chosen


def _best(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the trials on the front: Optuna's ``best_trials``, which would copy every trial."""
    able = [
        t for t in trials if t.state == TrialState.COMPLETE and max(t.constraints.values(), default=0) <= 0
    ]
    if not able:
        return set()
    points = np.array([trial.values for trial in able])
    kept = moocore.is_nondominated(points, maximise=(True, False), keep_weakly=True)
    return {trial.number for trial, is_kept in zip(able, kept, strict=True) if is_kept}


def _frequency(sets: Sequence[NDArray[np.bool_]], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each block is in a set; the prior counts as one."""
    frequency: NDArray[np.float64] = np.sum([prior, *sets], axis=0) / (len(sets) + 1)
    return frequency


def folded(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's parameters with one ``method.mask``, a tuple of names, in the place of a boolean a block."""
    values = {name: value for name, value in params.items() if not name.startswith(PREFIX)}
    mask = tuple(
        name.removeprefix(PREFIX) for name, is_in in params.items() if name.startswith(PREFIX) and is_in
    )
    return values | ({"method.mask": mask} if mask else {})
