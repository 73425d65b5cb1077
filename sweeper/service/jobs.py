"""Ray's jobs: a sweep's driver is one, ``NAME-1`` and, each time that it goes on, ``NAME-2`` ..."""

import shlex
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import requests
from ray.exceptions import RayError
from ray.job_submission import JobSubmissionClient

from sweeper.service.errors import NoClusterError, ServiceError

T = TypeVar("T")

#: Of which a head that is to run drivers has as many as drivers may run side by side.
DRIVER = {"driver": 1}
_SECONDS = {"GET": 10.0}  # that Ray may take to answer
_LONGER = 60.0  # that it may take to start or stop a job
_FRESH = 1.0  # seconds for which a list of jobs is good
_PAUSE = 5.0  # seconds before a cluster that did not answer is looked for again


@dataclass(frozen=True)
class Job:
    """A driver's process, as Ray tells of it.

    Attributes:
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        message: Ray's, which has the end of the log where the job has failed.
        exit_code: of the process, negative where a signal ended it; None while it runs or where unknown.
        since: when it was submitted, in seconds of Unix time.
    """

    id: str
    sweep: str
    status: str
    message: str
    exit_code: int | None
    since: float = 0.0

    @property
    def number(self) -> int:
        """It is the how-manieth of its sweep."""
        return int(self.id.rpartition("-")[2])

    @property
    def under_way(self) -> bool:
        """Whether it runs, or will when there is room."""
        return self.status in ("PENDING", "RUNNING")


class _Client(JobSubmissionClient):
    """Ray's client, which by itself would wait for an answer for ever."""

    def _do_request(self, method: str, *arguments: Any, **options: Any) -> requests.Response:
        patience = {"timeout": _SECONDS.get(method, _LONGER)}
        response: requests.Response = super()._do_request(method, *arguments, **patience, **options)
        return response


class Jobs:
    """The jobs that are drivers of sweeps, on the cluster of RAY_ADDRESS or else of this machine.

    Attributes:
        home: where drivers run.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._client: _Client | None = None
        self._connecting = threading.Lock()
        self._refused = (-_PAUSE, "")
        self._listed = (-_FRESH, dict[str, list[Job]]())
        self._stopped: set[str] = set()

    def all(self) -> dict[str, list[Job]]:
        """The jobs of each sweep, oldest first.

        Raises:
            NoClusterError: Ray does not answer.
        """
        at, jobs = self._listed
        if time.monotonic() - at > _FRESH:
            by_sweep: defaultdict[str, list[Job]] = defaultdict(list)
            for details in self._ask(lambda client: client.list_jobs()):
                if job := _job(details):
                    by_sweep[job.sweep].append(self._seen(job))
            jobs = {sweep: sorted(found, key=lambda job: job.number) for sweep, found in by_sweep.items()}
            self._listed = (time.monotonic(), jobs)
        return jobs

    def of(self, sweep: str) -> list[Job]:
        """As `all`, of one sweep."""
        return self.all().get(sweep, [])

    def submit(self, sweep: str, *arguments: str) -> None:
        """Has ``python -m sweeper ARGUMENTS`` run in the service's working directory.

        The job's environment is the head's; nothing of ours is passed, so no secret is kept with a job.

        Raises:
            ServiceError: 409, since the sweep has a driver; 503, since Ray does not answer.
        """
        self._forget()
        jobs = self.of(sweep)
        if jobs and jobs[-1].under_way:
            raise ServiceError(409, f"sweep '{sweep}' is under way as job {jobs[-1].id}")
        number = jobs[-1].number + 1 if jobs else 1
        command = shlex.join([sys.executable, "-m", "sweeper", *arguments])
        self._ask(
            lambda client: client.submit_job(
                # A driver is to do the work itself, not to ask a service for it.
                entrypoint=f"cd {shlex.quote(str(self.home))} && unset SWEEPER_SERVER && exec {command}",
                submission_id=f"{sweep}-{number}",
                metadata={"sweep": sweep},
                entrypoint_resources=DRIVER,
            )
        )
        self._forget()

    def stop(self, job: Job) -> None:
        """Asks a driver to end; its trials have saved themselves. Ray kills it if it takes too long."""
        self._ask(lambda client: client.stop_job(job.id))
        self._stopped.add(job.id)
        self._forget()

    def _seen(self, job: Job) -> Job:
        """The job; stopped, if that was asked while it waits: Ray only stops it when its turn has come."""
        waits = job.status == "PENDING" and job.id in self._stopped
        return replace(job, status="STOPPED") if waits else job

    def log(self, job: Job) -> str:
        """All that a job has written."""
        text: str = self._ask(lambda client: client.get_job_logs(job.id))
        return text

    def trouble(self) -> str | None:
        """Why nothing can be submitted; None where it can."""
        try:
            self.all()
        except ServiceError as error:
            return error.detail
        return None

    def _forget(self) -> None:
        self._listed = (-_FRESH, {})

    def _ask(self, question: Callable[[_Client], T]) -> T:
        client = self._connected()
        try:
            return question(client)
        except (requests.RequestException, ConnectionError, RayError) as error:
            raise NoClusterError(_reason(error)) from None
        except RuntimeError as error:  # Ray answers, but not as asked
            raise ServiceError(503, f"Ray refuses: {_reason(error)}") from None

    def _connected(self) -> _Client:
        """The client, made when it is first needed. One request at a time looks for the cluster."""
        if self._client is not None:
            return self._client
        at, reason = self._refused
        if time.monotonic() - at < _PAUSE or not self._connecting.acquire(blocking=False):
            raise NoClusterError(reason or "looking for it")
        try:
            self._client = _Client()
        except (requests.RequestException, ConnectionError, RayError, RuntimeError, ValueError) as error:
            self._refused = (time.monotonic(), _reason(error))
            raise NoClusterError(self._refused[1]) from None
        finally:
            self._connecting.release()
        return self._client


def _job(details: Any) -> Job | None:
    """A job of ours; None for others that share the cluster."""
    sweep = (details.metadata or {}).get("sweep")
    head, _, number = (details.submission_id or "").rpartition("-")
    if sweep is None or head != sweep or not number.isdecimal():
        return None
    return Job(
        details.submission_id,
        sweep,
        str(details.status.value),
        details.message or "",
        details.driver_exit_code,
        (details.start_time or 0) / 1000,
    )


def _reason(error: Exception) -> str:
    lines: Sequence[str] = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
