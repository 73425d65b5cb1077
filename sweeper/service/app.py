"""The service as a FastAPI application."""

from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from sweeper.service import archive
from sweeper.service.act import acting
from sweeper.service.answers import handle_refusals
from sweeper.service.checks import Checks
from sweeper.service.desk import Desk
from sweeper.service.guard import Guard
from sweeper.service.look import looking
from sweeper.service.page import pages
from sweeper.service.settings import Settings

_ABOUT = (
    "Sweeps on a cluster: submit, watch, stop, resume. Show your token as "
    "`Authorization: Bearer TOKEN`, if the service asks for one. Every refusal has one message, `detail`."
)


def create_app(settings: Settings) -> FastAPI:
    """The service; it works in the current directory, where drivers run too."""
    app = FastAPI(
        title="Selective-LoRA sweeper",
        description=_ABOUT,
        version="1",
        docs_url=None,
        redoc_url=None,
        # A path is right or it is not: a redirect would be put together from the Host header.
        redirect_slashes=False,
    )
    home = Path.cwd()
    desk = Desk(settings, home)
    for router in (looking(desk), acting(desk, Checks(home)), pages(app, settings.people)):
        app.include_router(router)
    # Weights do not become smaller.
    as_they_are = (*DEFAULT_EXCLUDED_CONTENT_TYPES, archive.TYPE)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=3, exclude_content_types=as_they_are)
    app.add_middleware(Guard, settings=settings)
    handle_refusals(app)
    return app
