"""What Ray Tune asks for the next pack of trials."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from sweeper.driver.faults import Faults
from sweeper.driver.packs import rounds
from sweeper.driver.unsaved import Unsaved
from sweeper.storage.folders import SweepFolder
from sweeper.study.front import unmoved
from sweeper.study.sweep_study import Job, SweepStudy


class PackSearcher(Unsaved, Searcher):
    """Hands out packs: what was interrupted, the baselines, new trials from Optuna, then confirmations.

    A Tune trial is one pack, of one method. What was interrupted goes on alone, since pack members share
    their epochs.
    Results are told to the study by the scheduler, which hears of them before the next pack is
    asked for.

    Args:
        study: what is asked for.
        folder: of the sweep.
        faults: says when no pack is to begin.
        check: called where nothing is half done; may raise to end the sweep.

    Attributes:
        finished: whether there is no pack left to hand out, and none that may come back.
    """

    def __init__(
        self, study: SweepStudy, folder: SweepFolder, faults: Faults, check: Callable[[], None]
    ) -> None:
        super().__init__()
        self._study = study
        self._folder = folder
        self._faults = faults
        self._check = check
        self._since = time.monotonic()
        self._waiting = deque([job] for job in study.interrupted())
        self._faulted: deque[list[Job]] = deque()
        self._out: dict[str, Job] = {}
        self.finished = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack, or ``FINISHED``; None if more may come of what is under way: ask again later."""
        self._check()  # Tune asks every second, and does nothing else, as long as nothing is under way.
        self._out = {key: job for key, job in self._out.items() if self._study.under_way(key)}
        if self._out and self._faults.holds_back():
            return None
        jobs = self._next_pack()
        if not jobs:
            self.finished = not self._out
            return str(Searcher.FINISHED) if self.finished else None
        self._out |= {job.key: job for job in jobs}
        return {"members": [self._member(job) for job in jobs]}

    def _member(self, job: Job) -> dict[str, Any]:
        """As `FineTune` wants it."""
        folder = self._folder.trial(job.key, self._study.results)
        return {"key": job.key, "space": job.space, "folder": folder}

    def put_back(self, keys: Sequence[str], machine: bool) -> None:
        """Takes back a pack whose process has ended; it goes on from its checkpoints.

        Where a machine is to blame, or seems to be, other packs go first.
        """
        if keys:
            (self._faulted if machine else self._waiting).append([self._out[key] for key in keys])

    def halve(self, keys: Sequence[str]) -> None:
        """Takes back members of a pack that was too large; they go on in two packs from their checkpoints."""
        jobs = [self._out[key] for key in keys]
        middle = len(jobs) // 2
        self._waiting.extend(half for half in (jobs[:middle], jobs[middle:]) if half)

    def _next_pack(self) -> list[Job]:
        if self._faulted and not self._faults.doubtful:
            return self._faulted.popleft()
        return self._without_fault() or (self._faulted.popleft() if self._faulted else [])

    def _without_fault(self) -> list[Job]:
        if self._waiting:
            return self._waiting.popleft()
        baseline = self._study.next_baseline()
        if baseline is not None:
            return [baseline]
        if self._room <= 0:
            return []
        self._stop_asking()
        trials = self._filled(self._study.next_trial, self._room)
        if trials:
            return trials
        # A database that broke down may have begun a trial without an answer.
        if lost := self._study.interrupted():
            self._waiting.extend([job] for job in lost)
            return self._waiting.popleft()
        if self._study.awaits_confirmation:
            return []
        return self._filled(self._study.next_confirmation, self._study.pack)

    def _stop_asking(self) -> None:
        """Asks for no more trials than have begun if there has been time or patience enough."""
        study, search = self._study, self._study.space.search
        hours = (time.monotonic() - self._since) / 3600
        record = study.record() if search.patience or (search.hours and hours > search.hours) else None
        if record is None or len(record.trials) >= study.asked:
            return
        if search.hours and hours > search.hours:
            why = f"search.hours: {search.hours:g} h are over"
        elif search.patience and (still := unmoved(record)) >= search.patience:
            why = f"search.patience: the front's hypervolume has not grown for {still} trials"
        else:
            return
        study.asked = len(record.trials)
        self._faults.say(f"{why}, so no more than the {study.asked} trials that have begun are trained")

    @property
    def _room(self) -> int:
        """How many trials may begin, so that a sampler that learns has rounds to learn from."""
        study = self._study
        if study.space.resources.max_parallel:
            return study.pack
        at_once = max(study.pack, study.asked // rounds(study.space))
        return at_once - sum(key.startswith("trial-") for key in self._out)

    def _filled(self, next_job: Callable[[], Job | None], most: int) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < min(self._study.pack, most) and (job := next_job()):
            jobs.append(job)
        packs = by_method(jobs)
        self._waiting.extend(packs[1:])
        return packs[0] if packs else []

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to do: the scheduler tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the study is the state."""


def by_method(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs as packs of one method, for members of a pack are one model."""
    names = dict.fromkeys(job.space.method.name for job in jobs)
    return [[job for job in jobs if job.space.method.name == name] for name in names]
