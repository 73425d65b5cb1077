"""What can be asked of the service: the storage's sweeps, Ray's jobs and the reports, brought together."""

import difflib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool

from search_spaces import Space, SpaceError
from sweeper.errors import UserError
from sweeper.service import audit, spaces, views
from sweeper.service.errors import ServiceError
from sweeper.service.exports import Exports
from sweeper.service.jobs import Job, Jobs
from sweeper.service.links import MlflowLinks
from sweeper.service.models import Enqueued, More, Registered, Summary, Sweep, Sweeps
from sweeper.service.owners import Owners
from sweeper.service.people import Person, Role
from sweeper.service.reports import Reports
from sweeper.service.settings import Settings
from sweeper.service.store import Snapshot, Store
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import is_driven, mended
from sweeper.study.changes import changed, enqueued
from sweeper.study.chosen import choose
from sweeper.study.records import TrialRecord
from sweeper.study.sweep_study import SweepStudy

#: What the service itself keeps, in its working directory: spaces handed in, whose they are, reports, and
#: models for as long as they are fetched.
FOLDER = "service"
_Jobs = Mapping[str, list[Job]]


class Desk:
    """Answers and orders; all state is read from the storage, from Ray, and from the spaces handed in."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._store, self._jobs = Store(settings.storage), Jobs(home)
        self._home, self._storage = home, settings.storage
        self._spaces = home / FOLDER / "spaces"
        self._owners = Owners(home / FOLDER / "owners")
        self._reports = Reports(home / FOLDER / "reports")
        self._links = MlflowLinks(settings.mlflow, settings.mlflow_page)
        self._most = settings.most_sweeps
        self.exports = Exports(home, home / FOLDER / "exports")
        self._submitting, self._enqueuing = threading.Lock(), threading.Lock()

    def sweeps(self) -> Sweeps:
        """All sweeps, by name: begun, waiting for their driver, or without one."""
        jobs, notice = self._looked_up()
        names = sorted({*self._store.names(), *jobs, *spaces.kept(self._spaces)})
        return Sweeps(sweeps=[self._line(name, jobs) for name in names], notice=notice)

    def _line(self, name: str, jobs: _Jobs) -> Summary:
        try:
            return self._summary(name, self._store.read(name), jobs)
        except ServiceError as error:
            # One sweep may be kept elsewhere, in a storage that asks for a password.
            message = self._store.elsewhere(name) or error.detail
            summary = self._summary(name, None, jobs)
            return summary.model_copy(update={"message": message, "line": f"{name}: {message}"})

    def _summary(self, name: str, snapshot: Snapshot | None, jobs: _Jobs) -> Summary:
        of_sweep = jobs.get(name, [])
        elsewhere = None if snapshot else self._store.elsewhere(name)
        summary = views.summary(name, snapshot, of_sweep, elsewhere)
        summary.owner = self._owners.of(name)
        if of_sweep and of_sweep[-1].status == "PENDING":
            running = sum(drivers[-1].status == "RUNNING" for drivers in jobs.values())
            summary.message = views.waiting(of_sweep[-1], running, time.time())
        return summary

    def sweep(self, name: str) -> Sweep:
        """One sweep.

        Raises:
            ServiceError: 404, there is none of the name.
        """
        jobs, notice = self._looked_up()
        snapshot = self._find(name, jobs)
        mlflow = self._links.of(snapshot.study.space.sweep) if snapshot else None
        view = views.sweep(self._summary(name, snapshot, jobs), snapshot, jobs.get(name, []), mlflow)
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

    async def report(self, name: str, file: str) -> Path:
        """A file of a sweep's report, as the sweep stands now."""
        return await self._reports.file(await run_in_threadpool(self.begun, name), file)

    async def compared(self, names: Sequence[str]) -> bytes:
        """The page of several sweeps on one plot, as they stand now."""
        snapshots = [await run_in_threadpool(self.begun, name) for name in dict.fromkeys(names)]
        return await self._reports.compared([snapshot.record for snapshot in snapshots])

    def model(self, name: str, trial: str | None, blocks: int | None) -> TrialRecord:
        """A finished model of a sweep, chosen as ``python -m sweeper export`` does.

        Raises:
            ServiceError: 404, there is no such sweep or model; 409, the sweep is not that of the folder here.
        """
        snapshot = self.begun(name)
        ours = SweepFolder(name, self._home).study
        if ours != snapshot.study.name:
            raise ServiceError(409, f"the folder sweeps/{name} here is sweep '{ours}': export that one")
        try:
            return choose(snapshot.record, trial, blocks)
        except UserError as error:
            raise ServiceError(404, str(error)) from None

    async def register(
        self, name: str, trial: str | None, blocks: int | None, model: str, who: Person
    ) -> Registered:
        """Makes a model of a sweep a version of a registered model of MLflow.

        Raises:
            ServiceError: 403, it is another person's; 404 and 409, as `model` and `Exports.folder`; 422, the
                registered model's name is none.
        """
        await run_in_threadpool(self._check_may_change, name, who)
        if not model.isprintable():
            raise ServiceError(422, "model: expects a name in printable characters")
        chosen = await run_in_threadpool(self.model, name, trial, blocks)
        text = await self.exports.register(name, chosen.key, model)
        audit.note(who, "register", name, None)
        return Registered(text=text)

    def log(self, name: str, job_id: str | None) -> str:
        """What a job of the sweep has written; its latest job's, unless another one is named."""
        of_sweep = self._jobs_of(name)
        chosen = next((job for job in reversed(of_sweep) if job_id in (None, job.id)), None)
        if chosen is None:
            there = ", ".join(job.id for job in of_sweep) or "none"
            raise ServiceError(404, f"sweep '{name}' has no such job on this cluster; it has {there}")
        return self._jobs.log(chosen)

    def submit(self, space: Space, who: Person) -> Summary:
        """Has a new sweep run.

        Raises:
            ServiceError: 409, the name is taken, or the person has as many under way as one may.
        """
        name = space.sweep
        with self._submitting:
            self._check_may_take(name, who)
            if self._store.read(name) or any(job.under_way for job in self._jobs.of(name)):
                raise ServiceError(
                    409, f"sweep '{name}' exists: go on with it by `python -m sweeper resume {name}` "
                    f"(POST /sweeps/{name}/resume), or give another name"
                )  # fmt: skip
            self._check_room(who)
            file = spaces.keep(space, self._spaces)
            self._owners.note(name, who.name)
            self._jobs.submit(name, "run", str(file))
        return self._changed(who, "submit", name)

    def resume(self, name: str, more: More, who: Person) -> Summary:
        """Has a sweep go on; one that ended before it began is begun again.

        Raises:
            ServiceError: 403, it is another person's; 404, no such sweep; 409, it is under way, or the person
                has as many under way as one may; 422, fewer trials than it has started, or a value that may
                not be changed.
        """
        with self._submitting:
            self._check_may_change(name, who)
            snapshot = self._find(name, self._jobs.all())
            self._check_room(who)
            if snapshot is None:
                self._begin_again(name, more)
            else:
                self._go_on(snapshot, more)
        return self._changed(who, "resume", name)

    def _begin_again(self, name: str, more: More) -> None:
        space = self._spaces / f"{name}.yaml"
        if not space.exists():
            raise ServiceError(
                404, f"sweep '{name}' has not begun, and its space is not here; submit it again"
            )
        trials = (f"search.trials={more.trials}",) if more.trials else ()
        self._jobs.submit(name, "run", str(space), *_set((*more.settings, *trials)))

    def _go_on(self, snapshot: Snapshot, more: More) -> None:
        name, started = snapshot.record.name, len(snapshot.record.trials) - snapshot.record.taken
        if more.trials is not None and more.trials < started:
            raise ServiceError(
                422, f"--trials {more.trials}: the sweep has started {started} already; "
                "ask for that many or more"
            )  # fmt: skip
        try:
            changed(snapshot.study.space, more.settings)
        except (UserError, SpaceError) as error:
            raise ServiceError(422, str(error)) from None
        trials = ("--trials", str(more.trials)) if more.trials else ()
        again = ("--retry-failed",) if more.retry_failed else ()
        self._jobs.submit(name, "resume", name, *trials, *again, *_set(more.settings))

    def stop(self, name: str, who: Person) -> Summary:
        """Asks a sweep's driver to end.

        Raises:
            ServiceError: 403, it is another person's; 404, no such sweep; 409, nothing runs.
        """
        self._check_may_change(name, who)
        of_sweep = self._jobs_of(name)
        if not of_sweep or not of_sweep[-1].under_way:
            raise ServiceError(409, f"nothing of sweep '{name}' runs on this cluster")
        self._jobs.stop(of_sweep[-1])
        return self._changed(who, "stop", name)

    def enqueue(self, name: str, values: Sequence[str], who: Person) -> Enqueued:
        """Has a trial with these values begin next.

        Raises:
            ServiceError: 403, it is another person's; 404, no such sweep, or it has not begun; 409, it is
                finished; 422, a value is not among what is searched.
        """
        self._check_may_change(name, who)
        study, folder = self.begun(name).study, SweepFolder(name, self._home)
        try:
            found = enqueued(study.space, values)
        except UserError as error:
            raise ServiceError(422, str(error)) from None
        key = self._store.safely(lambda: self._enqueue(study, folder, found))
        jobs = self._looked_up()[0].get(name, [])
        job = jobs[-1] if jobs and jobs[-1].under_way else None
        audit.note(who, "enqueue", name, job.id if job else None)
        running = job is not None or is_driven(study.name, folder.path, self._storage)
        return Enqueued(key=key, running=running)

    def _enqueue(self, study: SweepStudy, folder: SweepFolder, values: Mapping[str, Any]) -> str:
        with self._enqueuing, mended(study.name, folder.path, folder.journal, self._storage):
            try:
                return study.reopened().enqueue(values)
            except UserError as error:
                raise ServiceError(409, str(error)) from None

    def _changed(self, who: Person, what: str, name: str) -> Summary:
        jobs = self._jobs.all()
        of_sweep = jobs.get(name)
        audit.note(who, what, name, of_sweep[-1].id if of_sweep else None)
        return self._line(name, jobs)

    def _check_may_change(self, name: str, who: Person) -> None:
        owner = self._owners.of(name)
        if not who.may_change(owner) and (owner or self._store.read(name)):
            theirs = f"{owner}'s" if owner else "of nobody here"
            raise ServiceError(403, f"sweep '{name}' is {theirs}: only its owner and an admin may change it")

    def _check_may_take(self, name: str, who: Person) -> None:
        """A name whose sweep has not begun is its owner's all the same."""
        owner = self._owners.of(name)
        if owner and not who.may_change(owner) and not self._store.read(name):
            raise ServiceError(409, f"the name '{name}' is taken by a sweep of {owner}'s; give another one")

    def _check_room(self, who: Person) -> None:
        """A person has not so much under way that others would wait."""
        under_way = [name for name, jobs in self._jobs.all().items() if jobs[-1].under_way]
        mine = [name for name in under_way if self._owners.of(name) == who.name]
        if who.role is not Role.ADMIN and len(mine) >= self._most:
            raise ServiceError(
                409, f"you have {len(mine)} sweeps under way ({', '.join(sorted(mine))}), as many as one "
                "person may have; stop one, or wait until one has ended"
            )  # fmt: skip

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


def _set(settings: Iterable[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]
