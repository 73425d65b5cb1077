"""How routes answer: with an ETag where clients ask again and again, with one message on refusal."""

import hashlib
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from search_spaces import SpaceError
from search_spaces.messages import NAME_RULE
from search_spaces.part import Name
from sweeper.service.errors import Problem, ServiceError

Responses = dict[int | str, dict[str, Any]]

SweepName = Annotated[Name, InPath(description=f"name of a sweep: {NAME_RULE}")]

Trial = Annotated[
    str | None,
    Query(description="a trial's number, a baseline's label or a model's key; else the recommended one"),
]
Blocks = Annotated[
    int | None, Query(description="of a path, how many open blocks; else its best model inside the budget")
]

#: What the guard in front of every route may answer, and what any route may.
_EVERYWHERE = {
    400: "the body or the Host header cannot be read",
    401: "no token, or a wrong one",
    403: "not for this token, or asked by a page of another site",
    413: "the body is too large",
    422: "what was sent is not what is expected",
    429: "too many requests",
    503: "the storage or the cluster does not answer",
}
UNKNOWN = {404: "no such sweep; the message names the nearest"}
UNCHANGED: Responses = {304: {"description": "unchanged since the answer that has this ETag"}}


def problems(described: dict[int, str] | None = None) -> Responses:
    """What a route may refuse with, for the OpenAPI document."""
    every = _EVERYWHERE | (described or {})
    return {status: {"model": Problem, "description": every[status]} for status in sorted(every)}


def content(kind: str) -> Responses:
    """A successful answer that is a file of that media type."""
    schema = {"type": "string"} if kind.startswith("text/") else {}
    return {200: {"description": "the file", "content": {kind: {"schema": schema}}}}


def tagged(value: BaseModel) -> tuple[bytes, str]:
    """A value as JSON, and its ETag."""
    body = value.model_dump_json().encode()
    return body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def answer(request: Request, body: bytes, tag: str) -> Response:
    """The body as JSON, or 304 where the client has it already."""
    known = request.headers.get("if-none-match", "")
    if tag in (one.strip().removeprefix("W/") for one in known.split(",")):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


def handle_refusals(app: FastAPI) -> None:
    """Has every refusal answered as a `Problem`."""

    @app.exception_handler(ServiceError)
    def _refused(request: Request, error: ServiceError) -> JSONResponse:
        return _problem(error.status, error.detail)

    @app.exception_handler(SpaceError)
    def _no_space(request: Request, error: SpaceError) -> JSONResponse:
        return _problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    def _not_as_expected(request: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, "\n".join(map(_line, error.errors())))


def _problem(status: int, detail: str) -> JSONResponse:
    # A text from outside may hold halves of surrogate pairs, which are no UTF-8.
    return JSONResponse(Problem(detail=detail.encode("utf-8", "replace").decode()).model_dump(), status)


def _line(details: dict[str, Any]) -> str:
    place = ".".join(map(str, details["loc"][1:])) or "body"
    if details["type"] == "string_pattern_mismatch":
        return f"{place}: expects {NAME_RULE}"
    return f"{place}: {details['msg']}"
