"""The routes that change nothing."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response

from search_spaces.messages import NAME_RULE
from search_spaces.part import Name
from sweeper.formats import Format
from sweeper.report import trials_frame
from sweeper.service import archive, views
from sweeper.service.answers import (
    UNCHANGED,
    UNKNOWN,
    Blocks,
    SweepName,
    Trial,
    answer,
    content,
    problems,
    tagged,
)
from sweeper.service.desk import Desk
from sweeper.service.errors import Problem, ServiceError
from sweeper.service.exports import Delivery
from sweeper.service.models import Front, Health, Me, Sweep, Sweeps
from sweeper.service.reports import FILES
from sweeper.study.records import SweepRecord

Known = Annotated[Name, InPath(description=f"name of a sweep: {NAME_RULE}", examples=["clip_lambda"])]

#: The report brings its own policy; beside it, it may not act as a page of the service.
_REPORT = {"Content-Security-Policy": "sandbox allow-scripts allow-downloads; frame-ancestors 'none'"}


def looking(desk: Desk) -> APIRouter:
    """Lists, sweeps, fronts, reports, logs and models."""
    router = APIRouter(tags=["look"])

    @router.get("/health", responses={429: {"model": Problem}})
    async def health() -> Health:
        """Whether the service is there; asks for no token, and waits for no thread."""
        return Health()

    @router.get("/me", response_model=Me, responses=problems() | UNCHANGED)
    async def me(request: Request) -> Response:
        """Whose token was shown, and what it is for."""
        who = request.state.person
        return answer(request, *tagged(Me(name=who.name, role=who.role.name.lower())))

    @router.get("/sweeps", response_model=Sweeps, responses=problems() | UNCHANGED)
    def list_sweeps(request: Request) -> Response:
        """All sweeps, by name."""
        return answer(request, *tagged(desk.sweeps()))

    @router.get("/sweeps/{name}", response_model=Sweep, responses=problems(UNKNOWN) | UNCHANGED)
    def show_sweep(name: Known, request: Request) -> Response:
        """A sweep: its state, what is under way, its front, and what `python -m sweeper status` prints."""
        return answer(request, *tagged(desk.sweep(name)))

    @router.get("/sweeps/{name}/front", response_model=Front, responses=problems(UNKNOWN) | UNCHANGED)
    def show_front(name: Known, request: Request) -> Response:
        """The points of ID accuracy against forgetting, for the live plot."""
        return answer(request, *desk.begun(name).once(_front))

    @router.get(
        "/sweeps/{name}/logs",
        response_class=Response,
        responses=problems({404: "no such sweep, or it has no such job"}) | content("text/plain"),
    )
    def logs(
        name: Known,
        job: Annotated[str | None, Query(description="a job of the sweep; else its latest")] = None,
        offset: Annotated[int, Query(ge=0, description="characters to leave out at the beginning")] = 0,
    ) -> Response:
        """What the sweep's driver has written."""
        return PlainTextResponse(desk.log(name, job)[offset:].encode("utf-8", "replace"))

    _add_files(router, desk)
    return router


def _add_files(router: APIRouter, desk: Desk) -> None:
    @router.get(
        "/sweeps/{name}/trials.csv",
        response_class=Response,
        responses=problems(UNKNOWN) | content("text/csv"),
    )
    def trials_csv(name: Known) -> Response:
        """Every trial, baseline and confirmation as a row."""
        return Response(desk.begun(name).once(_csv), media_type="text/csv")

    @router.get(
        "/sweeps/{name}/report", response_class=Response, responses=problems(UNKNOWN) | content("text/html")
    )
    async def report(name: Known) -> Response:
        """The report of the sweep as it stands now: one page that needs nothing but itself."""
        return _file(await desk.report(name, FILES[0]))

    @router.get(
        "/sweeps/{name}/report/{file}",
        response_class=Response,
        responses=problems({404: "no such sweep, or its report has no such file"}) | content("*/*"),
    )
    async def report_file(name: Known, file: str) -> Response:
        """A file of the report: front.png, front.json, trials.parquet, recommended.yaml ..."""
        if file not in FILES:
            raise ServiceError(404, f"a report has no such file; it may have {', '.join(FILES)}")
        return _file(await desk.report(name, file))

    @router.get("/compared", response_class=Response, responses=problems(UNKNOWN) | content("text/html"))
    async def compared(
        sweep: Annotated[list[Name], Query(min_length=2, max_length=20, description="names, one by one")],
    ) -> Response:
        """The fronts of several sweeps on one plot, as they stand now; one page that needs nothing else."""
        return HTMLResponse(await desk.compared(sweep), headers=_REPORT)

    @router.get(
        "/sweeps/{name}/export",
        response_class=Response,
        responses=problems(
            {404: "no such sweep, or no such finished model", 409: "it cannot be had in this format, or here"}
        )
        | content(archive.TYPE),
    )
    async def export(
        name: SweepName,
        format: Annotated[Format, Query(description="as of `python -m sweeper export`")],
        trial: Trial = None,
        blocks: Blocks = None,
    ) -> Response:
        """The folder that `python -m sweeper export` writes, as a tar archive; its model in Sweeper-Model.

        It is written first, which takes a while, and then sent; another request has it written again.
        """
        model = await run_in_threadpool(desk.model, name, trial, blocks)
        file = f"{name}-{model.key}-{format}.tar"
        return Delivery(
            desk.exports.folder(name, model.key, format),
            {"Sweeper-Model": model.key, "Content-Disposition": f'attachment; filename="{file}"'},
        )


def _file(path: Path) -> FileResponse:
    return FileResponse(path, headers=_REPORT)


def _front(record: SweepRecord) -> tuple[bytes, str]:
    return tagged(views.front(record))


def _csv(record: SweepRecord) -> bytes:
    return trials_frame(record).to_csv(index=False).encode("utf-8", "replace")
