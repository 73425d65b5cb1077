"""Finished trials of an earlier sweep, as trials of a new one that would have trained them alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FixedTrial, FrozenTrial, create_trial

from search_spaces import Space
from search_spaces.conditions import in_order, is_asked
from search_spaces.several_methods import NAME
from sweeper.search.masks import PREFIX
from sweeper.search.samplers import attributes
from sweeper.search.suggest import suggest
from sweeper.study.changes import differences
from sweeper.study.reading import TAKEN_OVER, at_its_best, trial_key
from sweeper.study.sweep_study import SweepStudy

# What a trial has told that does not depend on the sweep it belongs to. Its rungs do: they are those inside
# a budget.
_KEPT = ("metrics", "points", "active", "closing_order", "curve")
# What says in mode mask which blocks a trial has open: its set, or for the first trials the budget.
_SETS = {"budget.mode", "method.mask", "method.active_blocks"}


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
        if NAME in searched:  # each trial is compared by itself
            searched = searched | {name for name in (*there, *here) if name.startswith("method.")}
        there, here = ({n: v for n, v in each.items() if n not in searched} for each in (there, here))
        return [*unlike, *differences(there, here)]

    def trials(self, space: Space, budget: int) -> list[FrozenTrial]:
        """Its complete trials that a new sweep without `differences` could have proposed, by number.

        Their constraints are the new sweep's. A pruned trial is left behind: when it ended depends on a
        budget and on what else had been trained.

        Args:
            space, budget: as for `differences`.
        """
        old = self.study.space
        either = old.search.parameters.keys() | space.search.parameters.keys()
        there, here = _by_method(old), _by_method(space)
        left_out = _SETS if space.budget.mode == "mask" else set()
        taken = []
        for frozen, record in self.study.complete():
            if record.method not in here:
                continue
            values, own = {**there[record.method], **record.parameters}, here[record.method]
            values[NAME] = record.method
            compared = either | (own.keys() - left_out if NAME in either else set())
            asked = _asked(space, values)
            if asked is not None and all(values.get(path) == own.get(path) for path in compared - asked):
                taken.append(self._taken(frozen, values, space, budget))
        return taken

    def _taken(
        self, frozen: FrozenTrial, values: Mapping[str, Any], space: Space, budget: int
    ) -> FrozenTrial:
        asked = FixedTrial(dict(values))
        suggest(space, asked)
        mask = [name for name in frozen.params if name.startswith(PREFIX)]
        kept = {name: frozen.user_attrs[name] for name in _KEPT if name in frozen.user_attrs}
        complete = at_its_best({"state": "complete", **kept}, space, budget)
        place = frozen.user_attrs.get(TAKEN_OVER, f"{self.place}/{trial_key(frozen.number)}")
        trial = create_trial(
            params=asked.params | {name: frozen.params[name] for name in mask},
            distributions=asked.distributions | {name: frozen.distributions[name] for name in mask},
            values=[complete["metrics"]["id_accuracy"], complete["metrics"]["forgetting"]],
            user_attrs={name: complete[name] for name in kept} | {TAKEN_OVER: place},
            system_attrs={"constraints": space.excesses(complete["metrics"], budget), **attributes(space)},
        )
        trial.datetime_start, trial.datetime_complete = frozen.datetime_start, frozen.datetime_complete
        return trial


def _by_method(space: Space) -> dict[str, dict[str, Any]]:
    """What is decisive for trials of each method that a space has."""
    if NAME not in space.search.parameters:
        return {space.method.name: decisive(space)}
    return {method.name: decisive(space.with_values({NAME: method.name})) for method in space.methods}


def _asked(space: Space, values: Mapping[str, Any]) -> set[str] | None:
    """The paths that a trial with these values is asked for; None if one lies outside what is searched."""
    settings, parameters = space.settings, space.search.parameters
    asked: dict[str, Any] = {}
    for path in in_order(parameters):
        if is_asked(parameters[path], asked):
            if path not in values or not parameters[path].holds(values[path], settings.is_whole(path)):
                return None
            asked[path] = values[path]
    return set(asked)


def _written(space: Space) -> dict[str, Any]:
    return {name: value for name, value in space.flat().items() if name.startswith(("model.", "data."))}
