"""The page of the service, for browsers: it needs nothing from elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sweeper.service.errors import Problem, ServiceError
from sweeper.service.guard import COOKIE
from sweeper.service.models import Login
from sweeper.service.people import People

_HERE = Path(__file__).parent
_REPORT = _HERE.parents[1] / "report"
_PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_ENVIRONMENT = Environment(
    loader=FileSystemLoader([_HERE, _REPORT]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def pages(app: FastAPI, people: People) -> APIRouter:
    """The page, what it is made of, its sign-in, and the reference of the API."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def index(request: Request) -> HTMLResponse:
        return HTMLResponse(_render("index.html.jinja", server=str(request.base_url).rstrip("/")))

    @router.get("/docs")
    def docs() -> HTMLResponse:
        document = app.openapi()
        return HTMLResponse(_render("docs.html.jinja", info=document["info"], routes=list(_routes(document))))

    @router.get("/static/style.css")
    def style() -> Response:
        # The report's look, then what only this page has.
        text = _render("style.css.jinja") + _render("live.css.jinja")
        return Response(text, media_type="text/css")

    @router.get("/static/script.js")
    def script() -> Response:
        return Response(_render("live.js.jinja"), media_type="text/javascript")

    @router.get("/static/plotly.js")
    def plotly_js() -> FileResponse:
        return FileResponse(_PLOTLY, media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    @router.post("/login", status_code=204, responses={401: {"model": Problem}})
    def login(shown: Login, request: Request) -> Response:
        if people and people.by_token(shown.token) is None:
            raise ServiceError(401, "this is none of the service's tokens")
        response = Response(status_code=204)
        if people:
            cookie, secure = people.cookie(shown.token), request.scope["scheme"] == "https"
            response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure)
        return response

    return router


def _render(template: str, **values: Any) -> str:
    return _ENVIRONMENT.get_template(template).render(**values)


def _routes(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each operation of the OpenAPI document, as the reference shows it."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {})
            yield {
                "method": method.upper(),
                "path": path,
                "description": operation.get("description", ""),
                "parameters": operation.get("parameters", []),
                "body": body.get("description") or ("optional" if body else ""),
                "kinds": list(body.get("content", {})),
                "responses": operation["responses"],
            }
