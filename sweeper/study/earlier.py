"""Finished trials of an earlier sweep, as trials of a new one that would have trained them alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FixedTrial, FrozenTrial, create_trial

from search_spaces import Settings, Space
from sweeper.search.masks import PREFIX
from sweeper.search.samplers import attributes
from sweeper.search.suggest import suggest
from sweeper.study.changes import differences
from sweeper.study.reading import TAKEN_OVER, at_its_best, trial_key
from sweeper.study.sweep_study import SweepStudy

# What a trial has told that does not depend on the sweep it belongs to. Its rungs do: they are those inside
# a budget.
_KEPT = ("metrics", "points", "active", "closing_order", "curve")


def decisive(space: Space) -> dict[str, Any]:
    """The settings, by dotted names, that a run's results depend on beside its model, data and code."""
    sections = {"method": space.method, "training": space.training, "points": space.points}
    settings = {
        f"{name}.{key}": value for name, part in sections.items() for key, value in part.dump().items()
    }
    # Numbers of a GPU and of a processor differ a little.
    on_gpu = {"resources.gpus_per_trial above 0": space.resources.gpus_per_trial > 0}
    return settings | {"budget.mode": space.budget.mode} | on_gpu


@dataclass(frozen=True)
class Earlier:
    """A sweep whose trials are to be taken over.

    Attributes:
        name: as a person calls it.
        place: a folder or URL, in which each trial's checkpoint is in a folder called by the trial's key.
    """

    name: str
    study: SweepStudy
    place: str

    def differences(self, space: Space, budget: int, grounds: Mapping[str, str]) -> list[str]:
        """What makes a run of that sweep another than one of a new sweep, but for what one of them searches.

        Args:
            space: of the new sweep, with its counts.
            budget: of the new sweep, in blocks.
            grounds: those of the new sweep's `SweepStudy.grounds` that have to be equal.
        """
        old = self.study.space
        there, here = decisive(old), decisive(space)
        if space.budget.mode == "mask":  # no setting says how many blocks are open
            there["budget.active_blocks"], here["budget.active_blocks"] = self.study.budget, budget
        unlike = [what for what, own in grounds.items() if self.study.grounds.get(what) != own]
        if unlike:  # what a person has written of them, where that tells it
            there, here = _written(old) | there, _written(space) | here
        searched = space.search.parameters.keys() | old.search.parameters.keys()
        there, here = ({n: v for n, v in each.items() if n not in searched} for each in (there, here))
        return [*unlike, *differences(there, here)]

    def trials(self, space: Space, budget: int) -> list[FrozenTrial]:
        """Its complete trials that a new sweep without `differences` could have proposed, by number.

        Their constraints are the new sweep's. A pruned trial is left behind: when it ended depends on a
        budget and on what else had been trained.

        Args:
            space, budget: as for `differences`.
        """
        there, here = decisive(self.study.space), decisive(space)
        settings, searched = Settings(space.method, space.training), space.search.parameters
        fixed = self.study.space.search.parameters.keys() - searched.keys()
        taken = []
        for frozen, record in self.study.complete():
            values = {**there, **record.parameters}
            inside = all(d.holds(values[path], settings.is_whole(path)) for path, d in searched.items())
            if inside and all(values[path] == here[path] for path in fixed):
                taken.append(self._taken(frozen, values, space, budget))
        return taken

    def _taken(
        self, frozen: FrozenTrial, values: Mapping[str, Any], space: Space, budget: int
    ) -> FrozenTrial:
        asked = FixedTrial(dict(values))
        suggest(space, asked)
        mask = [name for name in frozen.params if name.startswith(PREFIX)]
        kept = {name: frozen.user_attrs[name] for name in _KEPT if name in frozen.user_attrs}
        told = at_its_best({"state": "complete", **kept}, space, budget)
        place = frozen.user_attrs.get(TAKEN_OVER, f"{self.place}/{trial_key(frozen.number)}")
        trial = create_trial(
            params=asked.params | {name: frozen.params[name] for name in mask},
            distributions=asked.distributions | {name: frozen.distributions[name] for name in mask},
            values=[told["metrics"]["id_accuracy"], told["metrics"]["forgetting"]],
            user_attrs={name: told[name] for name in kept} | {TAKEN_OVER: place},
            system_attrs={"constraints": space.excesses(told["metrics"], budget), **attributes(space)},
        )
        trial.datetime_start, trial.datetime_complete = frozen.datetime_start, frozen.datetime_complete
        return trial


def _written(space: Space) -> dict[str, Any]:
    return {name: value for name, value in space.flat().items() if name.startswith(("model.", "data."))}
