"""Who may ask, how often, and how much: in front of every route.

A client shows its token as ``Authorization: Bearer ...``. A browser, which follows links without headers,
shows a cookie that it got for the token. By the cookie a change is made only where the browser says that a
page of this very host asks for it, so no other site can make it act.

All is decided by what the router goes by, the scope's path: a URL would be put together from the Host header,
which is the client's to choose.
"""

import re
import threading
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeper.service.errors import ServiceError
from sweeper.service.people import LOCAL, Person, Role
from sweeper.service.settings import Settings, is_loopback

COOKIE = "sweeper"
_OPEN = ("/", "/login", "/health", "/docs", "/openapi.json")
_READING = ("GET", "HEAD")
# A name or an address, and perhaps a port.
_HOST = re.compile(r"(?P<name>[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?", re.ASCII)
_MOST_CLIENTS = 10_000
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    # Plotly writes its styles into the page; no script runs but the service's own.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


class Buckets:
    """A token bucket for each client: ``burst`` requests at once, then ``rate`` a second.

    A client that has been quiet long enough has a full bucket, so those asked longest ago are forgotten
    where there are very many.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """Seconds until the client may ask again; 0 if it may now, which counts as a request."""
        now = time.monotonic()
        with self._lock:
            left, asked = self._left.pop(client, (float(self._burst), now))
            left = min(self._burst, left + self._rate * (now - asked))
            allowed = left >= 1.0
            self._left[client] = (left - 1.0 if allowed else left, now)
            if len(self._left) > _MOST_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._rate


class Guard:
    """ASGI middleware: rate, host, person, origin and size of a request, and the headers of its answer.

    Who asks is then in the request's state, as `person`.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings, self._people = app, settings, settings.people
        self._buckets = Buckets(settings.rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it with why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        headed = _with_headers(send)
        try:
            scope.setdefault("state", {})["person"] = self._checked(HTTPConnection(scope))
        except ServiceError as error:
            extra = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}.get(error.status)
            refusal = JSONResponse({"detail": error.detail}, error.status, extra)
            await refusal(scope, receive, headed)
            return
        await self._app(scope, self._limited(receive), headed)

    def _checked(self, request: HTTPConnection) -> Person | None:
        """Who asks; None where that does not matter, as the path is open."""
        client = request.client.host if request.client else "unknown"
        if self._buckets.wait(client):
            raise ServiceError(429, f"more than {self._settings.rate:g} requests a second; wait a second")
        host = _host(request)
        if not self._people and not is_loopback(host):
            raise ServiceError(
                403, f"no token is set, so this service answers on loopback only, not as '{host}'"
            )
        person = self._person(request)
        path, reads = request.scope["path"], request.scope["method"] in _READING
        if not (path in _OPEN or path.startswith("/static/")):
            _check_role(person, reads)
        if not (reads or _asked_from_here(request) or "origin" not in request.headers):
            raise ServiceError(403, "asked by a page of another site")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._settings.largest_body:
            raise ServiceError(413, self._too_large)
        return person

    def _person(self, request: HTTPConnection) -> Person | None:
        if not self._people:
            return LOCAL
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and (person := self._people.by_token(shown.strip())):
            return person
        if request.scope["method"] in _READING or _asked_from_here(request):
            return self._people.by_cookie(request.cookies.get(COOKIE, ""))
        return None

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self._settings.largest_body} bytes, so not a space file"

    def _limited(self, receive: Receive) -> Receive:
        """Counts what really comes, whatever the length was said to be."""
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._settings.largest_body:
                raise HTTPException(413, self._too_large)
            return message

        return limited


def _check_role(person: Person | None, reads: bool) -> None:
    """Whoever is known may read; any other method may change something."""
    if person is None:
        raise ServiceError(
            401, "this service asks for a token: Authorization: Bearer TOKEN (SWEEPER_TOKEN for the CLI)"
        )
    if not reads and person.role < Role.SUBMIT:
        raise ServiceError(403, f"the token of {person.name} is for reading alone; ask for another one")


def _host(request: HTTPConnection) -> str:
    """The name that the client calls this service by; it goes into nothing but messages and the page's text.

    Raises:
        ServiceError: 400, there is no such header, more than one, or it is no name.
    """
    given = request.headers.getlist("host")
    matched = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if matched is None:
        raise ServiceError(400, "the request has no valid Host header")
    return matched["name"].strip("[]")


def _asked_from_here(request: HTTPConnection) -> bool:
    """Whether a browser says that a page of this very host asks; other sites' pages cannot make it say so."""
    origins = request.headers.getlist("origin")
    try:
        return len(origins) == 1 and urlsplit(origins[0]).netloc == request.headers["host"]
    except ValueError:
        return False


def _with_headers(send: Send) -> Send:
    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return headed
