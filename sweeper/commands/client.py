"""The service, as its client sees it."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from search_spaces import Space
from search_spaces.messages import NAME_RULE
from search_spaces.part import Name
from sweeper.commands.unpack import unpack
from sweeper.errors import UserError

_SECONDS = 90.0  # that the service may take to answer, which itself waits for Ray
_REPORT_SECONDS = 600.0
_MODEL_SECONDS = 1200.0  # a model is written before it is sent
_REMEDY = re.compile(r"`(python -m sweeper (?:export|list|report|resume|status)[^`]*)`")


class Client:
    """A service at an address, with the token of the environment (SWEEPER_TOKEN).

    Every method raises `UserError` with one message where the service does not answer or refuses.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise UserError(
                "--server: no user or password belongs into the address; the token is SWEEPER_TOKEN"
            )
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"--server {url}: expects the service's address, such as http://host:8080")
        self._url = url.rstrip("/")
        token = os.environ.get("SWEEPER_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # The token goes to this address and nowhere else, so no redirect is followed.
        self._http = httpx.Client(base_url=self._url, headers=headers, timeout=_SECONDS)

    def submit(self, space: Space) -> dict[str, Any]:
        """Has a sweep run; its line in the list."""
        headers = {"Content-Type": "application/yaml"}
        return self._value("POST", "/sweeps", content=space.to_yaml().encode(), headers=headers)

    def sweeps(self) -> dict[str, Any]:
        """All sweeps."""
        return self._value("GET", "/sweeps")

    def sweep(self, name: str) -> dict[str, Any]:
        """A sweep with its front."""
        return self._value("GET", f"/sweeps/{_named(name)}")

    def resume(
        self, name: str, trials: int | None, retry_failed: bool, settings: Sequence[str]
    ) -> dict[str, Any]:
        """Has a sweep go on; its line in the list."""
        more = {"trials": trials, "retry_failed": retry_failed, "settings": list(settings)}
        return self._value("POST", f"/sweeps/{_named(name)}/resume", json=more)

    def stop(self, name: str) -> dict[str, Any]:
        """Has a sweep stop; its line in the list."""
        return self._value("DELETE", f"/sweeps/{_named(name)}")

    def log(self, name: str, offset: int = 0) -> str:
        """What the sweep's latest driver has written, from a character on."""
        return self._ask("GET", f"/sweeps/{_named(name)}/logs", params={"offset": offset}).text

    def report(self, name: str) -> str:
        """Has the report written; its address."""
        path = f"/sweeps/{_named(name)}/report"
        self._ask("GET", path, timeout=_REPORT_SECONDS)
        return f"{self._url}{path}"

    def compared(self, names: Sequence[str]) -> str:
        """Has the page written that has several sweeps on one plot; its address."""
        path = f"/compared?{urlencode([('sweep', _named(name)) for name in names])}"
        self._ask("GET", path, timeout=_REPORT_SECONDS)
        return f"{self._url}{path}"

    def export(self, name: str, form: str, trial: str | None, blocks: int | None, folder: Path) -> str:
        """Writes a trained model into an empty folder; the model's key."""
        path = f"/sweeps/{_named(name)}/export"
        asked = _without_none(format=form, trial=trial, blocks=blocks)
        with self._answer("GET", path, params=asked, timeout=_MODEL_SECONDS) as answer:
            try:
                unpack(answer.iter_bytes(), folder)
            except httpx.HTTPError as error:
                reason = f"{self._url} has broken off while it sent the model ({_reason(error)})"
                raise UserError(f"{reason}; nothing is written: try again") from None
            return str(answer.headers.get("Sweeper-Model", "a model"))

    def register(self, name: str, model: str, trial: str | None, blocks: int | None) -> str:
        """Makes a trained model a version of a registered model of MLflow; what has been done."""
        path = f"/sweeps/{_named(name)}/registered/{quote(model, safe='')}"
        asked = _without_none(trial=trial, blocks=blocks)
        return str(self._value("POST", path, params=asked, timeout=_MODEL_SECONDS)["text"])

    def enqueue(self, name: str, values: Sequence[str]) -> dict[str, Any]:
        """Has a trial with these values begin next: its key, and whether the sweep runs."""
        return self._value("POST", f"/sweeps/{_named(name)}/enqueue", json={"values": list(values)})

    def _value(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        value: dict[str, Any] = self._ask(method, path, **what).json()
        return value

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        with self._answer(method, path, **what) as answer:
            answer.read()
            return answer

    @contextmanager
    def _answer(self, method: str, path: str, **what: Any) -> Iterator[httpx.Response]:
        """A successful answer, whose body has not been read."""
        try:
            with self._http.stream(method, path, **what) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(answer)
                yield answer
        except httpx.HTTPError as error:
            raise UserError(
                f"no service answers at {self._url} ({_reason(error)}); is `sweeper serve` running?"
            ) from None

    def _refusal(self, answer: httpx.Response) -> UserError:
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            why = "has another token" if "SWEEPER_TOKEN" in os.environ else "asks for a token"
            return UserError(f"{self._url} {why}: set SWEEPER_TOKEN to the service's")
        detail = _detail(answer)
        if detail is None:
            return UserError(f"{self._url} answers {answer.status_code}: is it a sweeper's?")
        # A service does not know by which address it is reached.
        return UserError(_REMEDY.sub(rf"`\1 --server {self._url}`", detail))


def _named(name: str) -> str:
    """The name, which is fit to be a part of a path."""
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise UserError(f"{name!r} is no sweep's name: expects {NAME_RULE}") from None


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _detail(answer: httpx.Response) -> str | None:
    try:
        return str(answer.json()["detail"]) or None
    except (ValueError, KeyError, TypeError):
        return None


def _without_none(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
