"""Runs a sweep: opens the study, the tracker and the tuner, and ends with the report."""

import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import ray
import torch
from optuna.storages import BaseStorage
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from rich.console import Console

from search_spaces import Space
from sweeper.callback import SweepCallback
from sweeper.cluster import LOCAL, cluster, slots
from sweeper.errors import UserError
from sweeper.export import front_adapters
from sweeper.fit import check_fit
from sweeper.folders import SweepFolder
from sweeper.outcome import Outcome, write_outcome
from sweeper.packs import choose_pack
from sweeper.progress import Progress
from sweeper.pruner import Pruner
from sweeper.reference import known_reference
from sweeper.searcher import PackSearcher
from sweeper.storage import mend_journal, open_storage
from sweeper.study import SweepStudy, open_study
from sweeper.tracking import Tracker
from trainables import checkpoint
from trainables.fine_tune import FineTune
from trainables.problem import Problem, open_problem
from trainables.training import measure_reference

# A trial whose process dies (not one that raises) is tried this many times more, from its checkpoint.
_RETRIES = 2


@dataclass(frozen=True)
class Surroundings:
    """Where a sweep runs and what it is kept in, as given on the command line.

    Attributes:
        cluster: address of a Ray cluster, or `LOCAL`.
        storage: SQLAlchemy URL of the Optuna storage; None for a journal file in the sweep's folder.
        console: where a person looks.
    """

    cluster: str
    storage: str | None
    console: Console


def start(space: Space, around: Surroundings) -> Outcome:
    """Runs a new sweep to its end.

    Raises:
        UserError: before anything has been started.
        KeyboardInterrupt: interrupted; can be resumed.
    """
    folder = SweepFolder(space.sweep)
    problem = open_problem(space.dump())
    blocks = check_fit(space, problem.backbone)
    with folder.locked(), _terminable():
        mend_journal(folder.journal)
        storage = open_storage(around.storage, folder.journal)
        _refuse_existing(folder, storage)
        with cluster(around.cluster):
            reference, pack = _measure(problem, space, slots(space), here=around.cluster == LOCAL)
            folder.remember_storage(around.storage)
            study = SweepStudy.create(space, blocks, reference, pack, storage)
            return _run(study, problem, folder, around)


def resume(name: str, trials: int | None, around: Surroundings) -> Outcome:
    """Goes on with a sweep: keeps what finished, goes on with what was under way, asks for the rest.

    Args:
        name: of the sweep.
        trials: number of trials asked for from now on, in all; None leaves it as it is.
        around: as for `start`.

    Raises:
        UserError: no such sweep, it is running elsewhere, or fewer trials are asked for than there are.
        KeyboardInterrupt: interrupted again; can be resumed.
    """
    folder = SweepFolder(name)
    url = folder.storage(around.storage)
    with folder.locked(), _terminable():
        mend_journal(folder.journal)
        study = open_study(name, url)
        if trials is not None:
            _ask_for(study, trials)
        problem = open_problem(study.space.dump())
        with cluster(around.cluster):
            return _run(study, problem, folder, around)


def _refuse_existing(folder: SweepFolder, storage: BaseStorage) -> None:
    if SweepStudy.exists(folder.name, storage) or folder.has_trials:
        raise UserError(
            f"sweep '{folder.name}' exists: go on with it by `python -m sweeper resume {folder.name}`, "
            "or give another --name"
        )


def _ask_for(study: SweepStudy, trials: int) -> None:
    started = len(study.record().trials)
    if trials < started:
        raise UserError(
            f"--trials {trials}: the sweep has started {started} already; ask for that many or more"
        )
    study.asked = trials


def _measure(problem: Problem, space: Space, at_once: int, here: bool) -> tuple[Mapping[str, float], int]:
    """The pre-trained model's metrics and the pack size, measured where the trials will run."""
    if here:
        torch.set_num_threads(max(1, int(space.resources.cpus_per_trial)))
        reference = known_reference(problem, space, lambda: measure_reference(problem, space.dump()))
        return reference, choose_pack(problem, space, at_once)
    resources = {"num_cpus": space.resources.cpus_per_trial, "num_gpus": space.resources.gpus_per_trial}
    shared = ray.put(problem)
    measure = ray.remote(**resources)(measure_reference)
    choose = ray.remote(**resources)(choose_pack)
    pack = choose.remote(shared, space, at_once)
    reference = known_reference(problem, space, lambda: ray.get(measure.remote(shared, space.dump())))
    return reference, ray.get(pack)


def _run(study: SweepStudy, problem: Problem, folder: SweepFolder, around: Surroundings) -> Outcome:
    tracker = Tracker(study.space)
    tracker.reconcile(study.record(), lambda key: _history(folder.trial(key)))
    status = "KILLED"
    try:
        _tune(study, problem, folder, tracker, around.console)
        status = "FINISHED"
    finally:
        outcome = write_outcome(study, folder)
        artifacts = {"report": folder.report, **front_adapters(study, problem, folder)}
        tracker.close(outcome.record, status, artifacts)
    return outcome


def _history(folder: Path) -> list[dict[str, float]]:
    saved = checkpoint.read(folder)
    return saved.history if saved else []


def _tune(
    study: SweepStudy, problem: Problem, folder: SweepFolder, tracker: Tracker, console: Console
) -> None:
    resources = {"cpu": study.space.resources.cpus_per_trial, "gpu": study.space.resources.gpus_per_trial}
    trainable = tune.with_parameters(FineTune, problem=problem, reference=study.reference)
    with Progress(console, study.record()) as progress, tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=TuneConfig(
                search_alg=PackSearcher(study, folder),
                num_samples=-1,
                max_concurrent_trials=slots(study.space),
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                stop=Pruner(study) if study.space.search.prune else None,
                callbacks=[SweepCallback(study, tracker, progress)],
                # A trial saves itself, where a later sweep finds it: trainables/checkpoint.py.
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                failure_config=FailureConfig(max_failures=_RETRIES),
            ),
        ).fit()


@contextmanager
def _terminable() -> Iterator[None]:
    """Takes SIGTERM as Ctrl-C: a clean stop that can be resumed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
