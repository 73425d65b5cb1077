"""Runs a sweep: opens the study, the tracker and the tuner, and ends with the report."""

import gc
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import torch
from optuna.storages import BaseStorage
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from rich.console import Console

from search_spaces import Space, with_counts
from sweeper.driver.cluster import LOCAL, asked, busy, check_shared, cluster, slots, wait_for_room
from sweeper.driver.earlier import bring, earlier_baselines, earlier_sweeps, earlier_trials
from sweeper.driver.faults import Faults
from sweeper.driver.fit import check_fit, check_steps, makes_prompts
from sweeper.driver.interrupt import Interruption
from sweeper.driver.packs import TIMING_PACKS, choose_pack, times_packs
from sweeper.driver.pictures import OPENING, pictures
from sweeper.driver.progress import Progress
from sweeper.driver.reference import grounds, known_reference
from sweeper.driver.scheduler import SweepScheduler
from sweeper.driver.searcher import PackSearcher
from sweeper.errors import UserError
from sweeper.export import write_adapter
from sweeper.report.outcome import Outcome, write_outcome
from sweeper.screen import say
from sweeper.search.suggest import points
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import DriverLock, only_driver
from sweeper.storage.optuna_storage import mend_journal, open_storage
from sweeper.storage.results import checked, is_there, keep_only, publish
from sweeper.study.changes import changed, differences, paths_of
from sweeper.study.claim import claim
from sweeper.study.front import on_front, recommended
from sweeper.study.sweep_study import SweepStudy, TakenOver, open_study
from sweeper.tracking.runs import check_mlflow
from sweeper.tracking.tracked import End, Follows
from sweeper.tracking.trackers import Trackers, check_libraries
from trainables.device import use_threads
from trainables.engine import checkpoint
from trainables.engine.measures import Metrics
from trainables.engine.training import measure_reference
from trainables.fine_tune import FineTune
from trainables.problem import Problem, open_problem

# Tune keeps all that it has trained until it ends, and looks through it at every step. So it is run anew.
PACKS_A_RUN = 500
_SHOWN = 5  # settings that are named in one message


@dataclass(frozen=True)
class Surroundings:
    """Where a sweep runs and what it is kept in, as a person has given it.

    Attributes:
        cluster: address of a Ray cluster, or `LOCAL`.
        storage: SQLAlchemy URL of the Optuna storage; None for a journal file in the sweep's folder.
        console: where a person looks.
        source: the space file, where it is known.
        home: as in `SweepFolder`.
    """

    cluster: str
    storage: str | None
    console: Console
    source: Path | None = None
    home: Path = field(default_factory=Path.cwd)

    def say(self, sentence: str) -> None:
        """Tells a person what is waited for."""
        say(self.console, sentence)


def start(space: Space, results: str | None, around: Surroundings, fresh: bool = False) -> Outcome:
    """Runs a new sweep to its end.

    Args:
        space: what is asked for.
        results: where checkpoints and the report are kept, for as long as the sweep exists: a folder or a
            URL of pyarrow's filesystems; None for the sweep's own folder.
        around: where it runs.
        fresh: whether baselines are trained that an earlier sweep has trained with equal settings.

    Raises:
        UserError: before anything has been started.
        KeyboardInterrupt: interrupted; can be resumed.
    """
    folder = SweepFolder(space.sweep, around.home)
    check_libraries(space)
    earlier = earlier_sweeps(space, folder, around.storage)
    around.say(OPENING)
    problem = open_problem(space, makes_prompts(space))
    blocks = check_fit(space, problem.backbone)
    check_steps(space, len(blocks), len(problem.task.train))
    around.say("\n".join(pictures(problem)))
    results = checked(results)
    resting = grounds(problem)
    trials = earlier_trials(space, len(blocks), resting, earlier, around.say)
    claim(folder, around.storage, around.say)
    with Interruption().handled() as interruption, _alone(folder, around.storage) as lock:
        storage = open_storage(around.storage, folder.journal, around.say)
        _refuse_existing(space, len(blocks), folder, storage, results)
        around.say(f"opening {', '.join(space.tracking) or 'no tracker'}")
        if "mlflow" in space.tracking:
            check_mlflow(space.sweep, around.home)
        around.say("starting Ray" if around.cluster == LOCAL else "joining the Ray cluster")
        with cluster(around.cluster):
            wait_for_room(space, around.cluster, around.say)
            check_shared(results, space)
            reference, pack = _measure(problem, space, around)
            baselines = earlier_baselines(space, resting, folder, results, around.say, fresh)
            study = SweepStudy.create(
                space,
                blocks,
                reference,
                pack,
                storage,
                results,
                folder.study,
                folder.id,
                problem.damaged,
                problem.sizes,
                resting,
                TakenOver(trials, baselines),
            )
            if study.asked - study.taken < space.search.trials:
                around.say(f"search.trials: the grid has {study.asked} points, so the sweep ends after them")
            return _run(study, problem, folder, around, _Watch(interruption, lock))


def resume(
    name: str,
    trials: int | None,
    around: Surroundings,
    retry_failed: bool = False,
    overrides: Sequence[str] = (),
) -> Outcome:
    """Goes on with a sweep: keeps what finished, goes on with what was under way, asks for the rest.

    Args:
        name: of the sweep.
        trials: number of trials asked for from now on, in all; None leaves it as it is.
        around: as for `start`.
        retry_failed: whether what has failed is begun again, with the same values.
        overrides: of resources and of when the search ends, such as ``resources.cpus_per_trial=2``.

    Raises:
        UserError: no such sweep, it is running elsewhere, fewer trials are asked for than there are, or
            another value is to be changed.
        KeyboardInterrupt: interrupted again; can be resumed.
    """
    folder = SweepFolder(name, around.home)
    url = folder.storage(around.storage)
    with Interruption().handled() as interruption, _alone(folder, url) as lock:
        study = open_study(folder, url, around.say)
        if overrides:
            trials = _change(study, overrides) or trials
        if trials is not None:
            _ask_for(study, trials)
        if retry_failed:
            around.say(f"begins {study.retry_failed()} failed runs again")
        check_libraries(study.space)
        problem = open_problem(study.space)
        with cluster(around.cluster):
            wait_for_room(study.space, around.cluster, around.say)
            check_shared(study.results, study.space)
            return _run(study, problem, folder, around, _Watch(interruption, lock))


@contextmanager
def _alone(folder: SweepFolder, storage: str | None) -> Iterator[DriverLock]:
    """No other driver has the sweep, and what a killed one left half-written is mended."""
    with only_driver(folder.study, folder.path, storage) as lock:
        mend_journal(folder.journal)
        yield lock


@dataclass(frozen=True)
class _Watch:
    """What may end a sweep while trials run."""

    interruption: Interruption
    lock: DriverLock

    def check(self) -> None:
        """Raises if a person has asked for the end, or another driver has the sweep."""
        self.interruption.check()
        if self.lock.lost:
            raise UserError(self.lock.lost)


def _refuse_existing(
    space: Space, blocks: int, folder: SweepFolder, storage: BaseStorage, results: str | None
) -> None:
    apart: list[str] = []
    if SweepStudy.exists(folder.study, storage):
        counted = with_counts(space, space.budget.count(blocks), blocks)
        apart = differences(SweepStudy(folder.study, storage).space.dump(), counted.dump())
    elif not is_there(folder.trial("", results).rstrip("/")):
        return
    more = f", and {len(apart) - _SHOWN} more" if len(apart) > _SHOWN else ""
    of_another = f" with another space: {', '.join(apart[:_SHOWN])}{more}" if apart else ""
    raise UserError(
        f"sweep '{folder.name}' exists{of_another}; go on with it by "
        f"`python -m sweeper resume {folder.name}`, or give another --name"
    )


def _change(study: SweepStudy, overrides: Sequence[str]) -> int | None:
    """Changes what may be changed of a sweep that has begun; the number of trials, if that is asked for."""
    study.change(changed(study.space, overrides))
    return study.space.search.trials if "search.trials" in paths_of(overrides) else None


def _ask_for(study: SweepStudy, trials: int) -> None:
    started = len(study.record().trials) - study.taken
    if trials < started:
        raise UserError(
            f"--trials {trials}: the sweep has started {started} already; ask for that many or more"
        )
    if study.space.search.sampler == "grid" and trials > max(started, points(study.space)):
        raise UserError(
            f"--trials {trials}: the grid has {points(study.space)} points, so there are no more trials; "
            "start another sweep over more values"
        )
    study.asked = trials + study.taken


def _packs(space: Space) -> int:
    """How many packs are trained side by side here, as things are."""
    return max(1, min(slots(space), space.resources.max_parallel or sys.maxsize))


def _measure(problem: Problem, space: Space, around: Surroundings) -> tuple[Mapping[str, float], int]:
    """The pre-trained model's metrics and the pack size, measured where the trials will run.

    A process that has used a GPU holds some of its memory until it ends, so the driver does not use any.
    """
    resources, at_once, say, home = space.resources, _packs(space), around.say, around.home
    if around.cluster == LOCAL and not resources.gpus_per_trial:
        with _threads(resources.cpus_per_trial):
            reference = known_reference(problem, space, lambda: _reference(problem, space), say, home)
            if times_packs(space):
                say(TIMING_PACKS)
            return reference, choose_pack(problem, space, at_once)
    options = {
        "num_cpus": resources.cpus_per_trial,
        "num_gpus": resources.gpus_per_trial,
        "resources": resources.custom,
    }
    if waits_for := busy(space):
        say(waits_for)
    shared = ray.put(problem)
    measure = ray.remote(**options)(_reference)
    choose = ray.remote(**options)(choose_pack)
    if times_packs(space):
        say(TIMING_PACKS)
    pack = choose.remote(shared, space, at_once)
    reference = known_reference(problem, space, lambda: ray.get(measure.remote(shared, space)), say, home)
    return reference, ray.get(pack)


@contextmanager
def _threads(cpus: float) -> Iterator[None]:
    """Computes with a trial's threads, and afterwards with as many as before."""
    before = torch.get_num_threads()
    use_threads(cpus)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _reference(problem: Problem, space: Space) -> Metrics:
    return measure_reference(problem.placed(space.resources), space)


def _run(
    study: SweepStudy, problem: Problem, folder: SweepFolder, around: Surroundings, watch: _Watch
) -> Outcome:
    bring(study, folder)
    tracker = Trackers(
        study, lambda key: _history(folder.trial(key, study.results)), around.say, folder, around.source
    )
    tracker.open()
    trainable = tune.with_parameters(FineTune, problem=problem, reference=study.reference)
    status = "KILLED"
    try:
        with watch.interruption.put_off():
            train(study, trainable, folder, tracker, around, watch.check)
        status = "FINISHED"
    finally:
        # What another driver has taken over is its own to write down.
        if watch.lock.lost:
            raise UserError(watch.lock.lost)
        around.say("writing the report and what trackers lack")
        outcome = _end(study, problem, folder, tracker, around, status)
    return outcome


def _end(
    study: SweepStudy,
    problem: Problem,
    folder: SweepFolder,
    tracker: Follows,
    around: Surroundings,
    status: str,
) -> Outcome:
    """Writes down what a sweep leaves behind. What fails is said, and the rest is written all the same."""
    record = study.record()
    outcome, artifacts = Outcome(record, None, None, study.space.tracking), {}
    with unhurt(
        around.say, "the report is not written", f"`python -m sweeper report {folder.name}` tries again"
    ):
        outcome = write_outcome(study, folder)
        artifacts["report"] = folder.report
    for trial in on_front(record):
        with unhurt(
            around.say, f"the adapter of {trial.key} is not written", "the sweep's other results are"
        ):
            artifacts[f"adapters/{trial.key}"] = write_adapter(study, problem, folder, trial)
    for name, path in artifacts.items() if study.results else ():
        with unhurt(around.say, f"{name} is not copied to {study.results}", f"it is in {path}"):
            publish(path, f"{folder.kept(study.results)}/{name}")
    for place in sorted({str(folder.path), folder.kept(study.results)}):
        with unhurt(
            around.say, f"{place}/adapters has trials that left the front", "the next resume deletes them"
        ):
            keep_only(f"{place}/adapters", record.front)
    best = recommended(record)
    adapter = best and artifacts.get(f"adapters/{best.key}")
    tracker.close(record, End(status, artifacts, (best, adapter) if best and adapter else None))
    return outcome


@contextmanager
def unhurt(say: Callable[[str], None], what: str, remedy: str) -> Iterator[None]:
    """Says in one line what has failed of a sweep's end, which is then as it would have been otherwise."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        say(f"{what}: {reason}; {remedy}")


def _history(place: str) -> list[dict[str, float]]:
    saved = checkpoint.read(place)
    return saved.history if saved else []


def train(
    study: SweepStudy,
    trainable: Any,
    folder: SweepFolder,
    tracker: Follows,
    around: Surroundings,
    check: Callable[[], None],
) -> None:
    """Trains all that a study asks for, by Ray Tune.

    Args:
        study: what is asked for; is told what comes of it.
        trainable: a Tune trainable that reports as `FineTune` does.
        folder: of the sweep.
        tracker: logs.
        around: where it runs.
        check: called where nothing is half done; may raise to end the sweep.
    """
    with Progress(around.console, study.record()) as progress:
        faults = Faults(progress.say)
        searcher = PackSearcher(study, folder, faults, check)
        tune_config = TuneConfig(
            search_alg=searcher,
            scheduler=SweepScheduler(study, searcher, faults, tracker, progress, check),
            num_samples=PACKS_A_RUN,
            # On a cluster one pack more than there is room for waits, so that a new node gets it.
            max_concurrent_trials=_packs(study.space)
            if around.cluster == LOCAL
            else study.space.resources.max_parallel,
            reuse_actors=True,
        )
        resources = _tune_names(asked(study.space))
        while not searcher.finished:
            with tempfile.TemporaryDirectory() as scratch:
                tune.Tuner(
                    tune.with_resources(trainable, resources),
                    tune_config=tune_config,
                    run_config=_run_config(scratch),
                ).fit()
            gc.collect()  # what Tune leaves behind refers to itself


def _run_config(scratch: str) -> RunConfig:
    return RunConfig(
        name="tune",
        storage_path=scratch,
        verbose=0,
        # A trial saves itself, where a later sweep finds it: trainables/engine/checkpoint.py.
        checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
        # What is tried again the scheduler says.
        failure_config=FailureConfig(max_failures=0),
    )


def _tune_names(resources: Mapping[str, float]) -> dict[str, float]:
    """As Tune wants them, which writes two of Ray's names small."""
    return {name.lower() if name in ("CPU", "GPU") else name: n for name, n in resources.items()}
