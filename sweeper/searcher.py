"""What Ray Tune asks for the next pack of trials."""

from collections import deque
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from sweeper.folders import SweepFolder
from sweeper.study import Job, SweepStudy
from sweeper.unsaved import Unsaved


class PackSearcher(Unsaved, Searcher):
    """Hands out packs: what was interrupted, the baselines, new trials from Optuna, then confirmations.

    A Tune trial is one pack. What was interrupted goes on alone, since pack members share their epochs.
    Results are told to the study by the sweep's callback, which hears of them before the next pack is
    asked for.
    """

    def __init__(self, study: SweepStudy, folder: SweepFolder) -> None:
        super().__init__()
        self._study = study
        self._folder = folder
        self._interrupted = deque(study.interrupted())

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack, or ``FINISHED``; None if it hangs on trials that are under way: ask again later."""
        jobs = self._next_pack()
        if not jobs:
            return None if self._study.awaits_confirmation else str(Searcher.FINISHED)
        return {
            "members": [
                {"key": job.key, "space": job.space.dump(), "folder": str(self._folder.trial(job.key))}
                for job in jobs
            ]
        }

    def _next_pack(self) -> list[Job]:
        if self._interrupted:
            return [self._interrupted.popleft()]
        baseline = self._study.next_baseline()
        if baseline is not None:
            return [baseline]
        trials = self._filled(self._study.next_trial)
        if trials or self._study.awaits_confirmation:
            return trials
        return self._filled(self._study.next_confirmation)

    def _filled(self, next_job: Callable[[], Job | None]) -> list[Job]:
        pack: list[Job] = []
        while len(pack) < self._study.pack and (job := next_job()):
            pack.append(job)
        return pack

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to do: the sweep's callback tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the study is the state."""
