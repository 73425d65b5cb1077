"""Who may ask, how often, and how much: in front of every route.

A client shows its token as ``Authorization: Bearer ...``. A browser, which follows links without headers,
shows a cookie that it got for the token; with it one may only read, so no other site can make it act.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeper.service.errors import ServiceError
from sweeper.service.settings import Settings, is_loopback

COOKIE = "sweeper"
_OPEN = ("/", "/login", "/health", "/docs", "/openapi.json")
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
    """ASGI middleware: rate, host, token, origin and size of a request, and the headers of its answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._buckets = Buckets(settings.rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it with why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headed = _with_headers(send)
        try:
            self._check(HTTPConnection(scope))
        except ServiceError as error:
            extra = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            if error.status == 429:
                extra = {"Retry-After": "1"}
            refusal = JSONResponse({"detail": error.detail}, error.status, extra)
            await refusal(scope, receive, headed)
            return
        await self._app(scope, self._limited(receive), headed)

    def _check(self, request: HTTPConnection) -> None:
        client = request.client.host if request.client else "unknown"
        if self._buckets.wait(client):
            raise ServiceError(429, f"more than {self._settings.rate:g} requests a second; wait a second")
        _check_host(request, self._settings.token)
        if not self._may(request):
            raise ServiceError(
                401,
                "this service asks for its token: Authorization: Bearer TOKEN (SWEEPER_TOKEN for the CLI)",
            )
        _check_origin(request)
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._settings.largest_body:
            raise ServiceError(413, self._too_large)

    def _may(self, request: HTTPConnection) -> bool:
        token, path = self._settings.token, request.url.path
        if token is None or path in _OPEN or path.startswith("/static/"):
            return True
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same(shown.strip(), token):
            return True
        reads = request.scope["method"] in ("GET", "HEAD")
        return reads and same(request.cookies.get(COOKIE, ""), cookie_for(token))

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


def same(shown: str, right: str) -> bool:
    """Whether two words are the same, in a time that does not tell how much of them is."""
    return secrets.compare_digest(shown.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


def cookie_for(token: str) -> str:
    """What a browser keeps instead of the token, from which the token cannot be told."""
    return hmac.new(token.encode(), b"sweeper page", hashlib.sha256).hexdigest()


def _check_host(request: HTTPConnection, token: str | None) -> None:
    """Without a token only loopback's own names are answered: another site's name may be pointed at it."""
    host = request.headers.get("host", "")
    if token is None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise ServiceError(403, f"no token is set, so this service answers on loopback only, not as '{host}'")


def _check_origin(request: HTTPConnection) -> None:
    """A page of another site may make a browser ask, but not to change anything."""
    origin = Headers(scope=request.scope).get("origin")
    if request.scope["method"] in ("GET", "HEAD") or origin is None:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise ServiceError(403, "asked by a page of another site")


def _with_headers(send: Send) -> Send:
    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return headed
