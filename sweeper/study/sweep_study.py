"""The truth about a sweep: Optuna studies in one storage, of trials, of baselines and of confirmations."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Space, parse_space, with_counts
from sweeper.errors import UserError
from sweeper.search.samplers import make_sampler, propose
from sweeper.search.suggest import distributions, trials_of
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study import reading
from sweeper.study.confirm import pending
from sweeper.study.reading import LABEL, TAKEN_OVER, Objectives, trial_key
from sweeper.study.records import Role, SweepRecord, TrialRecord
from sweeper.study.remembered import RememberedSweep

Report = Mapping[str, Any]

_LAST_ATTRIBUTE = "asked"
_RETRIES = "retries"  # the attribute of a run that names the failed one that it stands for


@dataclass(frozen=True)
class Job:
    """A trial, a baseline or a confirmation to be trained.

    Attributes:
        key: as in `TrialRecord`.
        space: its own resolved space.
    """

    key: str
    space: Space


@dataclass(frozen=True)
class TakenOver:
    """What a new sweep has of earlier ones. Each run has the attribute `reading.TAKEN_OVER`.

    Attributes:
        trials: complete ones, as Optuna takes them.
        baselines: where the checkpoint of a baseline is, by its label.
    """

    trials: Sequence[FrozenTrial] = ()
    baselines: Mapping[str, str] = field(default_factory=dict)


class SweepStudy:
    """A sweep's trials, baselines and confirmations, in an Optuna storage.

    What the sweep is (space, blocks, budget, reference) is kept as attributes of the study of trials, so
    that a storage alone is enough to go on. There is a study of confirmations only where the space asks for
    them.

    Attributes:
        name: under which the storage keeps it.
        id: tells it from every other sweep, also from one of the same name; None of one from before there
            were ids, until `identify`.
        predates_ids: whether it is one from before there were ids.
        pack: number of trials that are trained together.
        taken: number of trials that were taken over, which come first and are not among those of the space.
        grounds: what all runs rest on beside their settings, as `sweeper.driver.reference.grounds`.
        results: folder or URL under which the sweep's checkpoints and report are kept; None for the local
            folder.
    """

    def __init__(self, name: str, storage: BaseStorage) -> None:
        self.name = name
        self._storage = storage
        kept, sampler = optuna.get_all_study_names(storage), optuna.samplers.RandomSampler()
        self._studies: dict[Role, optuna.Study] = {
            role: optuna.load_study(study_name=study, storage=storage, sampler=sampler)
            for role, study in _study_names(name).items()
            if study in kept
        }
        attributes = self._studies["trial"].user_attrs
        self.id: str | None = attributes.get("id")
        self.predates_ids: bool = attributes.get("predates_ids", self.id is None)
        self.space = parse_space(attributes["space"])
        self._flat = self.space.flat()
        self.blocks: tuple[str, ...] = tuple(attributes["blocks"])
        self.budget: int = attributes["budget"]
        self.reference: dict[str, float] = attributes["reference"]
        self.pack: int = attributes["pack"]
        self.results: str | None = attributes.get("results")
        self.damaged: tuple[str, ...] = tuple(attributes.get("damaged", ()))
        self.pictures: dict[str, dict[str, int]] = attributes.get("pictures", {})
        self.taken: int = attributes.get("taken", 0)
        self.grounds: dict[str, str] = attributes.get("grounds", {})
        self._asked: int = attributes["asked"]
        self._under_way: dict[str, optuna.Trial] = {}
        self._remembered = RememberedSweep(self.space, self.budget)
        self._domains = distributions(self.space)
        searched = self.space.search.parameters.items()
        self._conditions = {path: tuple(domain.when) for path, domain in searched if domain.when}

    @classmethod
    def create(
        cls,
        space: Space,
        blocks: tuple[str, ...],
        reference: Mapping[str, float],
        pack: int,
        storage: BaseStorage,
        results: str | None = None,
        name: str | None = None,
        sweep_id: str | None = None,
        damaged: Sequence[str] = (),
        pictures: Mapping[str, Mapping[str, int]] | None = None,
        grounds: Mapping[str, str] | None = None,
        taken: TakenOver = TakenOver(),
    ) -> "SweepStudy":
        """A new sweep. Remains of a creation that was cut off are replaced.

        In mode controlled the space that is kept leaves as many blocks open as the budget has, and in mode
        path it has the counts.

        Args:
            name: under which the storage is to keep it, which is free; None for the space's own.
            sweep_id: None for a new one.
            damaged: what is said of each picture that is left out.
            pictures: how many each split of each data set has.
            grounds: as the attribute.
            taken: what earlier sweeps have trained.
        """
        budget = space.budget.count(len(blocks))
        space = with_counts(space, budget, len(blocks))
        names = _study_names(name or space.sweep)
        for study_name in names.values():
            if study_name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=study_name, storage=storage)
        baselines = optuna.create_study(study_name=names["baseline"], storage=storage)
        for run in space.baseline_runs:
            known = {TAKEN_OVER: place} if (place := taken.baselines.get(run.label)) else {}
            baselines.enqueue_trial({LABEL: run.label}, known)
        if space.confirm:
            optuna.create_study(study_name=names["confirmation"], storage=storage)
        trials = optuna.create_study(
            study_name=names["trial"],
            storage=storage,
            directions=[space.search.objectives.id_accuracy, space.search.objectives.forgetting],
        )
        trials.set_metric_names(["id_accuracy", "forgetting"])
        for trial in taken.trials:
            trials.add_trial(trial)
        for values in space.search.enqueue[: space.search.trials]:
            trials.enqueue_trial(values)
        attributes = {
            "id": sweep_id or new_id(),
            "space": space.dump(),
            "blocks": list(blocks),
            "budget": budget,
            "reference": dict(reference),
            "pack": pack,
            "results": results,
            "damaged": list(damaged),
            "pictures": {name: dict(splits) for name, splits in (pictures or {}).items()},
            "taken": len(taken.trials),
            "grounds": dict(grounds or {}),
            _LAST_ATTRIBUTE: trials_of(space) + len(taken.trials),
        }
        for attribute, value in attributes.items():
            trials.set_user_attr(attribute, value)
        return cls(names["trial"], storage)

    @staticmethod
    def exists(name: str, storage: BaseStorage) -> bool:
        """Whether the storage has the sweep, created to its end."""
        return SweepStudy.edition_of(name, storage) is not None

    @staticmethod
    def edition_of(name: str, storage: BaseStorage) -> tuple[str | None, int] | None:
        """The sweep's id and the number of trials asked for, read now; None where there is no such sweep."""
        try:
            kept = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
        except KeyError:
            return None
        return (kept.get("id"), kept[_LAST_ATTRIBUTE]) if _LAST_ATTRIBUTE in kept else None

    @property
    def edition(self) -> tuple[str | None, int]:
        """As `edition_of`, when the study was opened or changed by this process."""
        return self.id, self._asked

    @property
    def current(self) -> bool:
        """Whether the storage still has the sweep, and no other process has changed what is asked of it."""
        return SweepStudy.edition_of(self.name, self._storage) == self.edition

    def reopened(self) -> "SweepStudy":
        """The study as the storage has it now."""
        return self if self.current else SweepStudy(self.name, self._storage)

    def identify(self) -> str:
        """The sweep's id; one from before there were ids is given one."""
        if self.id is None:
            self._studies["trial"].set_user_attr("predates_ids", True)
            self.id = new_id()
            self._studies["trial"].set_user_attr("id", self.id)
        return self.id

    @staticmethod
    def names(storage: BaseStorage) -> list[str]:
        """All sweeps that the storage has, created to their end, sorted."""
        studies = storage.get_all_studies()
        return sorted(study.study_name for study in studies if _LAST_ATTRIBUTE in study.user_attrs)

    @property
    def asked(self) -> int:
        """Number of trials asked for, with those that were taken over."""
        return self._asked

    @asked.setter
    def asked(self, trials: int) -> None:
        self._studies["trial"].set_user_attr("asked", trials)
        self._asked = trials

    def delete(self) -> None:
        """Removes the sweep from its storage; that of the trials last, by which a sweep is known."""
        roles: tuple[Role, ...] = ("confirmation", "baseline", "trial")
        for role in roles:
            if study := self._studies.get(role):
                optuna.delete_study(study_name=study.study_name, storage=self._storage)

    def change(self, space: Space) -> None:
        """Goes on with other resources, or another end of the search; all else of the space is as it was."""
        self._studies["trial"].set_user_attr("space", space.dump())
        self.space, self._flat = space, space.flat()
        if space.resources.pack != "auto" and space.packable:
            self._studies["trial"].set_user_attr("pack", space.resources.pack)
            self.pack = space.resources.pack

    def interrupted(self) -> list[Job]:
        """What is marked as running, but not under way with this driver: what an earlier one left."""
        under_way = {(trial.study.study_name, trial.number) for trial in self._under_way.values()}
        return [
            self._job(role, frozen.number)
            for role, name in _study_names(self.name).items()
            for frozen in self._frozen(role, TrialState.RUNNING)
            if (name, frozen.number) not in under_way
        ]

    def retry_failed(self) -> int:
        """Begins what has failed again, each with the values it had; the driver finds it as interrupted.

        A trial is begun again as one more trial, since Optuna lets no trial that has ended be changed; of a
        baseline or a confirmation the later run stands for both. How many are begun.
        """
        begun = 0
        for role, name in _study_names(self.name).items():
            runs = self._frozen(role)
            retried = {run.user_attrs.get(_RETRIES) for run in runs}
            for run in runs:
                if run.state == TrialState.FAIL and run.number not in retried:
                    if role == "trial":
                        self.asked += 1
                    study_id = self._storage.get_study_id_from_name(name)
                    self._storage.create_new_trial(study_id, _again(run))
                    begun += 1
        return begun

    def complete(self) -> list[tuple[FrozenTrial, TrialRecord]]:
        """The trials that have been trained to their end, as Optuna has them and as a record, by number."""
        trials = self._frozen("trial")
        pairs = zip(trials, self._remembered.trials.of(trials), strict=True)
        return [(frozen, record) for frozen, record in pairs if record.state == "complete"]

    def _frozen(self, role: Role, *states: TrialState) -> list[FrozenTrial]:
        """Optuna's trials, by number; only those in one of the states, if any is named."""
        study = self._studies.get(role)
        return study.get_trials(deepcopy=False, states=states or None) if study else []

    def next_baseline(self) -> Job | None:
        """A baseline that has not been started; None if there is none."""
        if not self._frozen("baseline", TrialState.WAITING):
            return None
        return self._job("baseline", self._studies["baseline"].ask().number)

    def next_trial(self) -> Job | None:
        """A new trial, enqueued or proposed; None if all that were asked for have been started.

        What is enqueued comes first, also where no further trial has been asked for. The sampler is made anew
        for every trial, seeded by the search's seed and the trial's number. So a proposal depends on what has
        finished and on nothing that a killed driver would take with it.
        """
        if waiting := self._frozen("trial", TrialState.WAITING):
            number = waiting[0].number
            self._storage.set_trial_state_values(self._trial_id(self.name, number), TrialState.RUNNING)
            return self._job("trial", number)
        if len(self._frozen("trial")) >= self.asked:
            return None
        # `Study.ask` would look through all trials again for one that waits.
        trial_id = self._storage.create_new_trial(self._storage.get_study_id_from_name(self.name))
        return self._job("trial", self._storage.get_trial_number_from_id(trial_id))

    def enqueue(self, values: Mapping[str, Any]) -> str:
        """Has a trial begin next whose values are given, in this process or in that of the driver; its key.

        Args:
            values: by paths that are searched, as `sweeper.study.changes.enqueued` has checked them.

        Raises:
            UserError: all trials that were asked for have ended.
        """
        trials = self._frozen("trial")
        if len(trials) >= self.asked and all(trial.state.is_finished() for trial in trials):
            more = max(self.asked, len(trials)) - self.taken + 1
            raise UserError(
                f"sweep '{self.name}' is finished: ask for more of its trials by `python -m sweeper resume "
                f"{self.name} --trials {more}`, and enqueue while they run"
            )
        self._studies["trial"].enqueue_trial(dict(values))
        return trial_key(self._frozen("trial")[-1].number)

    @property
    def awaits_confirmation(self) -> bool:
        """Whether confirmations are asked for and not to be chosen yet, since trials have not ended."""
        trials = self._frozen("trial")
        ended = len(trials) >= self.asked and all(trial.state.is_finished() for trial in trials)
        return self.space.confirm is not None and not ended

    def next_confirmation(self) -> Job | None:
        """A trial of the front, to be trained again with another seed; None if there is none to begin.

        Only for when all trials have ended: the front is then what it will be.
        """
        study = self._studies.get("confirmation")
        if study is None:
            return None
        # A driver that was killed here may have left one waiting.
        if not self._frozen("confirmation", TrialState.WAITING):
            missing = pending(self.record())
            if not missing:
                return None
            number, seed = missing[0]
            study.enqueue_trial({}, user_attrs={"trial": number, "seed": seed})
        return self._job("confirmation", study.ask().number)

    def _job(self, role: Role, number: int) -> Job:
        """The job of a running trial; what its sampler has not proposed yet, it proposes now."""
        name = _study_names(self.name)[role]
        sampler = make_sampler(self.space, number, self.blocks) if role == "trial" else None
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=sampler)
        trial = optuna.Trial(study, self._trial_id(name, number))
        if role == "baseline":
            label = trial.suggest_categorical(LABEL, [run.label for run in self.space.baseline_runs])
            job = Job(f"baseline-{label}", self.space.for_baseline(label))
        elif role == "trial":
            job = Job(trial_key(number), self.space.with_values(propose(self.space, trial, self.blocks)))
        else:
            record = self.record()
            run = self._remembered.confirmations.of(self._frozen(role))[number]
            job = Job(run.key, reading.space_of(self.space, record, run))
        self._under_way[job.key] = trial
        return job

    def _trial_id(self, study: str, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(study)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def tell(self, report: Report) -> None:
        """Writes down what a trial under way has reported. Its state comes last, when all else is there."""
        trial = self._under_way[report["key"]]
        if report.get("points"):
            trial.set_user_attr("points", [dict(point) for point in report["points"]])
            report = reading.at_its_best(report, self.space, self.budget)
        if report["metrics"]:
            trial.set_user_attr("metrics", dict(report["metrics"]))
        if report.get("rungs"):
            trial.set_user_attr("rungs", trial.user_attrs.get("rungs", {}) | reading.written(report["rungs"]))
        if report["state"] == "running":
            return
        trial.set_user_attr("active", list(report["active"]))
        if report.get("closing_order"):
            trial.set_user_attr("closing_order", list(report["closing_order"]))
        if report.get("curve"):
            trial.set_user_attr("curve", [dict(point) for point in report["curve"]])
        self._end(trial, report)
        del self._under_way[report["key"]]

    def _end(self, trial: optuna.Trial, report: Report) -> None:
        study = self._studies[cast(Role, report["key"].split("-")[0])]
        if report["state"] == "complete":
            excesses = self.space.excesses(report["metrics"], self.budget)
            # As optuna-dashboard reads it too. `Trial.set_constraint` would be a second constraint beside it.
            trial_id = self._trial_id(study.study_name, trial.number)
            self._storage.set_trial_system_attr(trial_id, "constraints", excesses)
            values = [report["metrics"]["id_accuracy"], report["metrics"]["forgetting"]]
            study.tell(trial.number, values[: len(study.directions)])
        else:
            trial.set_user_attr("reason", report["reason"])
            state = TrialState.PRUNED if report["state"] == "pruned" else TrialState.FAIL
            study.tell(trial.number, state=state)

    def inside(self, active: int) -> bool:
        """Whether so many active blocks are inside the budget."""
        return self.space.budget.excess(active, self.budget) <= 0

    def rungs(self) -> dict[str, dict[int, Objectives]]:
        """Each trial's objectives after the epochs at which it was judged; of failed trials none."""
        known = self._remembered.rungs.of(self._frozen("trial"))
        return dict(pair for pair in known if pair)

    def under_way(self, key: str) -> bool:
        """Whether a trial has been started by this driver and has not ended."""
        return key in self._under_way

    def record(self) -> SweepRecord:
        """All that is known now."""
        known = self._remembered
        trials = known.trials.of(self._frozen("trial"))
        return SweepRecord(
            name=self.name,
            space=self._flat,
            blocks=self.blocks,
            budget=self.budget,
            rule=self.space.budget.rule,
            asked=max(self.asked, len(trials)),
            reference=self.reference,
            trials=trials,
            baselines=_latest(known.baselines.of(self._frozen("baseline"))),
            front=tuple(trial.key for trial in known.front.trials),
            confirmations=_latest(known.confirmations.of(self._frozen("confirmation"))),
            mode=self.space.budget.mode,
            tolerance=self.space.budget.tolerance,
            damaged=self.damaged,
            pictures=self.pictures,
            domains=self._domains,
            conditions=self._conditions,
        )


def open_study(
    folder: SweepFolder, url: str | None, waiting: Callable[[str], None] | None = None
) -> SweepStudy:
    """The study of an existing sweep.

    Args:
        folder: the sweep's.
        url: of the storage; None for the journal file in the sweep's folder.
        waiting: as in `open_storage`.

    Raises:
        UserError: there is none in that storage, or another sweep of the name.
    """
    storage = open_storage(url, folder.journal, waiting)
    name = folder.study
    if not SweepStudy.exists(name, storage):
        raise UserError(f"the storage knows no sweep '{name}'; start it with `python -m sweeper run`")
    study = SweepStudy(name, storage)
    if folder.id not in (None, study.id):
        raise UserError(
            f"the storage does not have the sweep of {folder.path} any more: its '{name}' is another one; "
            "run yours again under another --name"
        )
    return study


def new_id() -> str:
    """An id that no other sweep has."""
    return uuid.uuid4().hex[:12]


def _again(run: FrozenTrial) -> FrozenTrial:
    """A run that has failed, as a new one under way that is given the same values."""
    kept = {name: value for name, value in run.user_attrs.items() if name in ("trial", "seed")}
    values = run.system_attrs.get("fixed_params", {}) | run.params
    return _running(values, kept | {_RETRIES: run.number})


def _running(values: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> FrozenTrial:
    """A new trial under way that is given values, as Optuna's `enqueue_trial` gives them."""
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        user_attrs=dict(attributes or {}),
        system_attrs={"fixed_params": dict(values)},
    )


def _latest(runs: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The last run of each key, where the first one stood."""
    return tuple({run.key: run for run in runs}.values())


def _study_names(sweep: str) -> dict[Role, str]:
    """In the order in which what was interrupted goes on."""
    return {"baseline": f"{sweep}.baselines", "trial": sweep, "confirmation": f"{sweep}.confirmations"}
