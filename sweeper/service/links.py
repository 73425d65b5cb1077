"""Where a sweep's runs are in MLflow."""

import threading
import time
from urllib.parse import urlsplit, urlunsplit

import httpx

_SECONDS = 2.0  # that MLflow may take to answer
_PAUSE = 30.0  # seconds before it is asked again


class MlflowLinks:
    """The page of a sweep's experiment, where MLflow is a server.

    Args:
        uri: the tracking URI, as the service reaches it.
        page: the address under which browsers reach it; None if that is the same.
    """

    def __init__(self, uri: str | None, page: str | None) -> None:
        self._uri = uri.rstrip("/") if uri and urlsplit(uri).scheme in ("http", "https") else None
        self._page = _public(page or self._uri or "").rstrip("/")
        self._known: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def of(self, sweep: str) -> str | None:
        """The link, as soon as MLflow knows the experiment; a password in the URI is left out."""
        if self._uri is None:
            return None
        with self._lock:
            due = time.monotonic() - self._asked.get(sweep, -_PAUSE) >= _PAUSE
            if sweep in self._known or not due:
                return self._known.get(sweep)
            self._asked[sweep] = time.monotonic()
        if (experiment := self._experiment(sweep)) is not None:
            self._known[sweep] = f"{self._page}/#/experiments/{experiment}"
        return self._known.get(sweep)

    def _experiment(self, sweep: str) -> str | None:
        url = f"{self._uri}/api/2.0/mlflow/experiments/get-by-name"
        try:
            answer = httpx.get(url, params={"experiment_name": sweep}, timeout=_SECONDS)
            return str(answer.raise_for_status().json()["experiment"]["experiment_id"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None


def _public(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
