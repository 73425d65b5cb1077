"""What Ray Tune asks for the next pack of trials."""

from collections import deque
from typing import Any

from ray.tune.search import Searcher

from sweeper.folders import SweepFolder
from sweeper.study import Job, SweepStudy
from sweeper.unsaved import Unsaved


class PackSearcher(Unsaved, Searcher):
    """Hands out packs: first what was interrupted, then the baselines, then new trials from Optuna.

    A Tune trial is one pack. What was interrupted goes on alone, since pack members share their epochs.
    Results are told to the study by the sweep's callback, which hears of them before the next pack is
    asked for.
    """

    def __init__(self, study: SweepStudy, folder: SweepFolder) -> None:
        super().__init__()
        self._study = study
        self._folder = folder
        self._interrupted = deque(study.interrupted())

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next pack, or ``FINISHED``."""
        jobs = self._next_pack()
        if not jobs:
            return str(Searcher.FINISHED)
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
        pack: list[Job] = []
        while len(pack) < self._study.pack and (job := self._study.next_trial()):
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
