"""The truth about a sweep: two Optuna studies in one storage, one of trials and one of baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Space, parse_space, suggest
from sweeper.errors import UserError
from sweeper.folders import SweepFolder
from sweeper.records import State, SweepRecord, TrialRecord
from sweeper.samplers import make_sampler
from sweeper.storage import open_storage

Role = Literal["trial", "baseline"]
Report = Mapping[str, Any]

_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_LABEL = "baseline"
_LAST_ATTRIBUTE = "asked"


@dataclass(frozen=True)
class Job:
    """A trial or a baseline to be trained.

    Attributes:
        key: as in `TrialRecord`.
        space: its own resolved space.
    """

    key: str
    space: Space


class SweepStudy:
    """A sweep's trials and baselines, in an Optuna storage.

    What the sweep is (space, blocks, budget, reference) is kept as attributes of the study of trials, so
    that a storage alone is enough to go on.
    """

    def __init__(self, name: str, storage: BaseStorage) -> None:
        self.name = name
        self._storage = storage
        self._studies: dict[Role, optuna.Study] = {
            role: optuna.load_study(
                study_name=study, storage=storage, sampler=optuna.samplers.RandomSampler()
            )
            for role, study in _study_names(name).items()
        }
        attributes = self._studies["trial"].user_attrs
        self.space = parse_space(attributes["space"])
        self._runs = {run.label: run for run in self.space.baseline_runs}
        self.blocks: tuple[str, ...] = tuple(attributes["blocks"])
        self.budget: int = attributes["budget"]
        self.reference: dict[str, float] = attributes["reference"]
        self._under_way: dict[str, optuna.Trial] = {}

    @classmethod
    def create(
        cls,
        space: Space,
        blocks: tuple[str, ...],
        reference: Mapping[str, float],
        pack: int,
        storage: BaseStorage,
    ) -> "SweepStudy":
        """A new sweep, whose name is free. Remains of a creation that was cut off are replaced."""
        names = _study_names(space.sweep)
        for study_name in names.values():
            if study_name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=study_name, storage=storage)
        baselines = optuna.create_study(study_name=names["baseline"], storage=storage)
        for run in space.baseline_runs:
            baselines.enqueue_trial({_LABEL: run.label})
        trials = optuna.create_study(
            study_name=names["trial"],
            storage=storage,
            directions=[space.search.objectives.id_accuracy, space.search.objectives.forgetting],
        )
        trials.set_metric_names(["id_accuracy", "forgetting"])
        attributes = {
            "space": space.dump(),
            "blocks": list(blocks),
            "budget": space.budget.count(len(blocks)),
            "reference": dict(reference),
            "pack": pack,
            _LAST_ATTRIBUTE: space.search.trials,
        }
        for attribute, value in attributes.items():
            trials.set_user_attr(attribute, value)
        return cls(space.sweep, storage)

    @staticmethod
    def exists(name: str, storage: BaseStorage) -> bool:
        """Whether the storage has the sweep, created to its end."""
        if name not in optuna.get_all_study_names(storage):
            return False
        return _LAST_ATTRIBUTE in optuna.load_study(study_name=name, storage=storage).user_attrs

    @property
    def asked(self) -> int:
        """Number of trials asked for."""
        asked: int = self._studies["trial"].user_attrs["asked"]
        return asked

    @asked.setter
    def asked(self, trials: int) -> None:
        self._studies["trial"].set_user_attr("asked", trials)

    @property
    def pack(self) -> int:
        """Number of trials that are trained together."""
        pack: int = self._studies["trial"].user_attrs["pack"]
        return pack

    def interrupted(self) -> list[Job]:
        """Trials and baselines that were under way when an earlier driver ended."""
        return [
            self._job(role, frozen.number)
            for role in ("baseline", "trial")
            for frozen in self._studies[role].get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]

    def next_baseline(self) -> Job | None:
        """A baseline that has not been started; None if there is none."""
        study = self._studies["baseline"]
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return None
        return self._job("baseline", study.ask().number)

    def next_trial(self) -> Job | None:
        """A new trial, proposed by the sampler; None if all that were asked for have been started.

        The sampler is made anew for every trial, seeded by the search's seed and the trial's number. So a
        proposal depends on what has finished and on nothing that a killed driver would take with it.
        """
        study = self._studies["trial"]
        if len(study.get_trials(deepcopy=False)) >= self.asked:
            return None
        return self._job("trial", study.ask().number)

    def _job(self, role: Role, number: int) -> Job:
        """The job of a running trial; what its sampler has not proposed yet, it proposes now."""
        name = _study_names(self.name)[role]
        sampler = make_sampler(self.space, number) if role == "trial" else None
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=sampler)
        study_id = self._storage.get_study_id_from_name(name)
        trial = optuna.Trial(study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))
        if role == "baseline":
            label = trial.suggest_categorical(_LABEL, list(self._runs))
            job = Job(f"baseline-{label}", self.space.for_baseline(label))
        else:
            job = Job(f"trial-{number:04d}", self.space.with_values(suggest(self.space, trial)))
        self._under_way[job.key] = trial
        return job

    def tell(self, report: Report) -> None:
        """Writes down what a trial under way has reported. Its state comes last, when all else is there."""
        trial = self._under_way[report["key"]]
        if report["metrics"]:
            trial.set_user_attr("metrics", dict(report["metrics"]))
        if report["state"] == "running":
            return
        trial.set_user_attr("active", list(report["active"]))
        if report.get("curve"):
            trial.set_user_attr("curve", [dict(point) for point in report["curve"]])
        study = self._studies["baseline" if report["key"].startswith("baseline") else "trial"]
        if report["state"] == "complete":
            trial.set_constraint("budget", self._excess(int(report["metrics"]["active_blocks"])))
            values = [report["metrics"]["id_accuracy"], report["metrics"]["forgetting"]]
            study.tell(trial.number, values[: len(study.directions)])
        else:
            trial.set_user_attr("reason", report["reason"])
            study.tell(trial.number, state=TrialState.FAIL)
        del self._under_way[report["key"]]

    def _excess(self, active: int) -> int:
        """Blocks by which a trial misses the budget; feasible at zero and below."""
        over = active - self.budget
        return abs(over) if self.space.budget.rule == "exactly" else over

    def under_way(self, key: str) -> bool:
        """Whether a trial has been started by this driver and has not ended."""
        return key in self._under_way

    def record(self) -> SweepRecord:
        """All that is known now."""
        front = sorted(self._studies["trial"].best_trials, key=lambda trial: (-trial.values[0], trial.number))
        return SweepRecord(
            name=self.name,
            space=self.space.flat(),
            blocks=self.blocks,
            budget=self.budget,
            rule=self.space.budget.rule,
            asked=self.asked,
            reference=self.reference,
            trials=tuple(self._trial(t) for t in self._studies["trial"].get_trials(deepcopy=False)),
            baselines=tuple(self._baseline(t) for t in self._studies["baseline"].get_trials(deepcopy=False)),
            front=tuple(f"trial-{trial.number:04d}" for trial in front),
        )

    def _trial(self, trial: FrozenTrial) -> TrialRecord:
        label = str(trial.number)
        return TrialRecord(
            key=f"trial-{trial.number:04d}",
            label=label,
            group=label,
            method=self.space.method.name,
            role="trial",
            parameters=trial.params,
            **_told(trial),
        )

    def _baseline(self, trial: FrozenTrial) -> TrialRecord:
        label = trial.params.get(_LABEL) or trial.system_attrs["fixed_params"][_LABEL]
        run = self._runs[label]
        return TrialRecord(
            key=f"baseline-{label}",
            label=label,
            group=run.group,
            method=run.method,
            role="baseline",
            parameters=run.varied,
            **_told(trial),
        )


def open_study(name: str, url: str | None) -> SweepStudy:
    """The study of an existing sweep.

    Raises:
        UserError: there is none in that storage.
    """
    storage = open_storage(url, SweepFolder(name).journal)
    if not SweepStudy.exists(name, storage):
        raise UserError(f"the storage knows no sweep '{name}'; start it with `python -m sweeper run`")
    return SweepStudy(name, storage)


def _study_names(sweep: str) -> dict[Role, str]:
    return {"trial": sweep, "baseline": f"{sweep}.baselines"}


def _told(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial has reported so far, as a `TrialRecord` keeps it."""
    complete = trial.state == TrialState.COMPLETE
    return {
        "state": _STATES[trial.state],
        "metrics": trial.user_attrs.get("metrics", {}),
        "active": tuple(trial.user_attrs.get("active", ())),
        "feasible": complete and all(value <= 0 for value in trial.constraints.values()),
        "reason": trial.user_attrs.get("reason"),
        "curve": tuple(trial.user_attrs.get("curve", ())),
    }
