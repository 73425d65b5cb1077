"""The routes that have something done: check, submit, resume, stop, enqueue, register."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool

from search_spaces import Space
from sweeper.service import spaces
from sweeper.service.answers import UNKNOWN, Blocks, SweepName, Trial, problems
from sweeper.service.checks import Checks
from sweeper.service.desk import Desk
from sweeper.service.errors import ServiceError
from sweeper.service.models import Checked, Enqueued, More, Registered, Summary, Values
from sweeper.service.people import Person

_YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain")
_JSON = "application/json"
_SPACE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a space, as a file of `python -m sweeper run` has it (`python -m sweeper schema`)",
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            _JSON: {"schema": {"type": "object"}},
        },
    }
}


def _who(request: Request) -> Person:
    """Who asks, as the guard has found."""
    person: Person = request.state.person
    return person


Who = Annotated[Person, Depends(_who)]


def acting(desk: Desk, checks: Checks) -> APIRouter:
    """Check, submit, resume, stop, enqueue, register."""
    router = APIRouter(tags=["act"])

    @router.post("/check", openapi_extra=_SPACE, responses=problems({415: "neither YAML nor JSON"}))
    async def check(request: Request) -> Checked:
        """Have a space checked, and nothing started: what `python -m sweeper validate` says of it."""
        text = await request.body()
        space = await run_in_threadpool(_space, text, request.headers.get("content-type", ""))
        return await checks.of(space)

    @router.post(
        "/sweeps",
        status_code=201,
        openapi_extra=_SPACE,
        responses=problems(
            {409: "the name is taken, or you have enough sweeps under way", 415: "neither YAML nor JSON"}
        ),
    )
    async def submit(request: Request, response: Response, who: Who) -> Summary:
        """Have a sweep run. A mistake in the space is told as the command line tells it."""
        text = await request.body()
        kind = request.headers.get("content-type", "")
        summary = await run_in_threadpool(lambda: desk.submit(_space(text, kind), who))
        response.headers["Location"] = f"/sweeps/{summary.name}"
        return summary

    @router.post(
        "/sweeps/{name}/resume",
        status_code=202,
        responses=problems(UNKNOWN | {409: "it is under way, or you have enough sweeps under way"}),
    )
    def resume(name: SweepName, who: Who, more: More | None = None) -> Summary:
        """Have a sweep go on that was stopped or interrupted, or ask for more of its trials."""
        return desk.resume(name, more or More(), who)

    @router.delete(
        "/sweeps/{name}", status_code=202, responses=problems(UNKNOWN | {409: "nothing of it runs"})
    )
    def stop(name: SweepName, who: Who) -> Summary:
        """Have a sweep stop. What it has found stays, and it can be resumed."""
        return desk.stop(name, who)

    @router.post(
        "/sweeps/{name}/enqueue",
        status_code=201,
        responses=problems({404: "no such sweep, or it has not begun", 409: "it is finished"}),
    )
    def enqueue(name: SweepName, who: Who, trial: Values | None = None) -> Enqueued:
        """Have a trial with these values begin next, also while it runs; the sampler chooses the rest."""
        return desk.enqueue(name, (trial or Values()).values, who)

    @router.post(
        "/sweeps/{name}/registered/{model}",
        status_code=201,
        responses=problems(
            {404: "no such sweep, or no such finished model", 409: "it cannot be had here, or MLflow refuses"}
        ),
    )
    async def register(
        name: SweepName,
        model: Annotated[str, InPath(description="name of a registered model of MLflow, which may be new")],
        who: Who,
        trial: Trial = None,
        blocks: Blocks = None,
    ) -> Registered:
        """Make a trained model the next version of a registered model of MLflow."""
        return await desk.register(name, trial, blocks, model, who)

    return router


def _space(text: bytes, content_type: str) -> Space:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _YAML:
        return spaces.read_yaml(text)
    if kind == _JSON:
        return spaces.read_json(text)
    raise ServiceError(415, "send a space with Content-Type: application/yaml or application/json")
