"""What can be asked of the service: the storage's sweeps, Ray's jobs and the reports, brought together."""

import difflib
import threading
from collections.abc import Iterable
from pathlib import Path

from search_spaces import Space
from sweeper.service import spaces, views
from sweeper.service.errors import ServiceError
from sweeper.service.jobs import Job, Jobs
from sweeper.service.links import MlflowLinks
from sweeper.service.models import Summary, Sweep, Sweeps
from sweeper.service.reports import Reports
from sweeper.service.settings import Settings
from sweeper.service.store import Snapshot, Store

#: What the service itself keeps, in its working directory: spaces that were handed in, and reports.
FOLDER = "service"


class Desk:
    """Answers and orders; all state is read from the storage, from Ray, and from the spaces handed in."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._store, self._jobs = Store(settings.storage), Jobs(home)
        self._spaces = home / FOLDER / "spaces"
        self._reports = Reports(home / FOLDER / "reports")
        self._links = MlflowLinks(settings.mlflow, settings.mlflow_page)
        self._submitting = threading.Lock()

    def sweeps(self) -> Sweeps:
        """All sweeps, by name: begun, waiting for their driver, or without one."""
        jobs, notice = self._looked_up()
        names = sorted({*self._store.names(), *jobs, *spaces.kept(self._spaces)})
        return Sweeps(sweeps=[self._line(name, jobs.get(name, [])) for name in names], notice=notice)

    def _line(self, name: str, jobs: list[Job]) -> Summary:
        try:
            return views.summary(name, self._store.read(name), jobs)
        except ServiceError as error:
            # One sweep may be kept elsewhere, in a storage that asks for a password.
            summary = views.summary(name, None, jobs)
            return summary.model_copy(update={"message": error.detail, "line": f"{name}: {error.detail}"})

    def sweep(self, name: str) -> Sweep:
        """One sweep.

        Raises:
            ServiceError: 404, there is none of the name.
        """
        jobs, notice = self._looked_up()
        snapshot = self._find(name, jobs)
        view = views.sweep(
            name,
            snapshot,
            jobs.get(name, []),
            self._links.of(snapshot.study.space.sweep) if snapshot else None,
        )
        return view.model_copy(update={"message": notice}) if notice else view

    def begun(self, name: str) -> Snapshot:
        """A sweep as it stands, whose driver has begun.

        Raises:
            ServiceError: 404, there is none of the name, or nothing is known of it yet.
        """
        snapshot = self._find(name, self._looked_up()[0])
        if snapshot is None:
            raise ServiceError(404, f"sweep '{name}' has not begun yet; GET /sweeps/{name} tells its state")
        return snapshot

    def report(self, name: str, file: str) -> Path:
        """A file of a sweep's report, as the sweep stands now."""
        return self._reports.file(self.begun(name), file)

    def log(self, name: str, job_id: str | None) -> str:
        """What a job of the sweep has written; its latest job's, unless another one is named."""
        of_sweep = self._jobs_of(name)
        chosen = next((job for job in reversed(of_sweep) if job_id in (None, job.id)), None)
        if chosen is None:
            there = ", ".join(job.id for job in of_sweep) or "none"
            raise ServiceError(404, f"sweep '{name}' has no such job on this cluster; it has {there}")
        return self._jobs.log(chosen)

    def submit(self, space: Space) -> Summary:
        """Has a new sweep run.

        Raises:
            ServiceError: 409, the name is taken.
        """
        name = space.sweep
        with self._submitting:
            if self._store.read(name) or any(job.under_way for job in self._jobs.of(name)):
                raise ServiceError(
                    409, f"sweep '{name}' exists: go on with it by `python -m sweeper resume {name}` "
                    f"(POST /sweeps/{name}/resume), or give another name"
                )  # fmt: skip
            self._jobs.submit(name, "run", str(spaces.keep(space, self._spaces)))
        return self._line(name, self._jobs.of(name))

    def resume(self, name: str, trials: int | None) -> Summary:
        """Has a sweep go on; one that ended before it began is begun again.

        Raises:
            ServiceError: 404, no such sweep; 409, it is under way; 422, fewer trials than it has started.
        """
        with self._submitting:
            snapshot = self._find(name, self._jobs.all())
            if snapshot is None:
                self._begin_again(name, trials)
            else:
                self._go_on(snapshot, trials)
        return self._line(name, self._jobs.of(name))

    def _begin_again(self, name: str, trials: int | None) -> None:
        space = self._spaces / f"{name}.yaml"
        if not space.exists():
            raise ServiceError(
                404, f"sweep '{name}' has not begun, and its space is not here; submit it again"
            )
        more = ("--set", f"search.trials={trials}") if trials else ()
        self._jobs.submit(name, "run", str(space), *more)

    def _go_on(self, snapshot: Snapshot, trials: int | None) -> None:
        name, started = snapshot.record.name, len(snapshot.record.trials)
        if trials is not None and trials < started:
            raise ServiceError(
                422, f"--trials {trials}: the sweep has started {started} already; ask for that many or more"
            )
        more = ("--trials", str(trials)) if trials else ()
        self._jobs.submit(name, "resume", name, *more)

    def stop(self, name: str) -> Summary:
        """Asks a sweep's driver to end.

        Raises:
            ServiceError: 404, no such sweep; 409, nothing runs.
        """
        of_sweep = self._jobs_of(name)
        if not of_sweep or not of_sweep[-1].under_way:
            raise ServiceError(409, f"nothing of sweep '{name}' runs on this cluster")
        self._jobs.stop(of_sweep[-1])
        return self._line(name, self._jobs.of(name))

    def _looked_up(self) -> tuple[dict[str, list[Job]], str | None]:
        """The jobs; none where Ray does not answer, and why: what is kept can be read without it."""
        try:
            return self._jobs.all(), None
        except ServiceError as error:
            return {}, error.detail

    def _jobs_of(self, name: str) -> list[Job]:
        """A known sweep's jobs. A driver can be heard and stopped also while its study cannot be read."""
        jobs = self._jobs.all()
        of_sweep = jobs.get(name, [])
        if not of_sweep:
            self._find(name, jobs)
        return of_sweep

    def _find(self, name: str, jobs: Iterable[str]) -> Snapshot | None:
        """The sweep as it stands; None where it is known, but has not begun."""
        snapshot = self._store.read(name)
        if snapshot is None:
            kept = spaces.kept(self._spaces)
            if name not in jobs and name not in kept:
                raise ServiceError(404, f"there is no sweep '{name}'{self._hint(name, {*jobs, *kept})}")
        return snapshot

    def _hint(self, name: str, others: set[str]) -> str:
        near = difflib.get_close_matches(name, sorted({*self._store.names(), *others}), n=1)
        return f"; did you mean '{near[0]}'?" if near else "; GET /sweeps shows what there is"
