"""How a service is set up: by the environment that it shares with the jobs it submits."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from search_spaces.load import LARGEST_FILE
from sweeper.errors import UserError
from sweeper.service.people import ADMIN, People, Person, read_tokens

#: Of the environment, what lets people in: not for the processes that a service starts.
ACCESS = ("SWEEPER_TOKEN", "SWEEPER_TOKEN_FILE", "SWEEPER_TOKENS_FILE")


@dataclass(frozen=True)
class Settings:
    """What a service is told.

    Attributes:
        storage: SQLAlchemy URL of the Optuna storage; None for the journals in ./sweeps.
        token: of the one who may do everything.
        tokens: of others. Without any token nothing is asked for, and only loopback is then answered.
        proxies: addresses and networks of proxies, by commas: what they say of a client is believed.
        mlflow: MLflow's tracking URI; linked to where it is http or https.
        mlflow_page: the address under which browsers reach MLflow, if it is another.
        rate: requests a second that one client may go on making.
        burst: requests that one client may make at once.
        largest_body: bytes of a request's body.
        most_sweeps: that one person may have under way, if they are no admin.
    """

    storage: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tokens: Mapping[str, Person] = field(default_factory=dict, repr=False)
    proxies: str | None = None
    mlflow: str | None = field(default=None, repr=False)
    mlflow_page: str | None = None
    rate: float = 20.0
    burst: int = 100
    largest_body: int = LARGEST_FILE
    most_sweeps: int = 4

    @classmethod
    def from_environment(cls) -> Self:
        """Those of the environment; docs/operations.md has its variables.

        Raises:
            UserError: a variable, or the file that it names, is not as expected.
        """
        tokens = os.environ.get("SWEEPER_TOKENS_FILE")
        return cls(
            storage=os.environ.get("SWEEPER_STORAGE") or None,
            token=_token(),
            tokens=read_tokens(Path(tokens)) if tokens else {},
            proxies=os.environ.get("SWEEPER_PROXIES") or None,
            mlflow=os.environ.get("MLFLOW_TRACKING_URI") or None,
            mlflow_page=os.environ.get("SWEEPER_MLFLOW") or None,
            most_sweeps=_whole("SWEEPER_MOST_SWEEPS", cls.most_sweeps),
        )

    @property
    def people(self) -> People:
        """All who may ask; nobody where there is no token.

        Raises:
            UserError: SWEEPER_TOKEN is also in the file of tokens, or its owner's name is.
        """
        if self.token is None:
            return People(self.tokens)
        if self.token in self.tokens or ADMIN.name in {person.name for person in self.tokens.values()}:
            raise UserError(f"SWEEPER_TOKEN: it, or the name {ADMIN.name}, is also in SWEEPER_TOKENS_FILE")
        return People({**self.tokens, self.token: ADMIN})

    def check_host(self, host: str) -> None:
        """Refuses to be open to the network without a token.

        Raises:
            UserError: the host is beyond loopback and there is no token.
        """
        if not self.people and not is_loopback(host):
            raise UserError(
                f"--host {host}: anyone who reaches this address could start sweeps; set SWEEPER_TOKEN to a "
                "long random word, or leave --host at 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token() -> str | None:
    """The admin's token: SWEEPER_TOKEN, or what the file that SWEEPER_TOKEN_FILE names holds."""
    token, file = os.environ.get("SWEEPER_TOKEN"), os.environ.get("SWEEPER_TOKEN_FILE")
    if token and file:
        raise UserError("SWEEPER_TOKEN and SWEEPER_TOKEN_FILE are both set; keep one")
    if not file:
        return token or None
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"SWEEPER_TOKEN_FILE: {file} cannot be read: {type(error).__name__}") from None
    if not token:
        raise UserError(f"SWEEPER_TOKEN_FILE: {file} is empty")
    return token


def _whole(name: str, usual: int) -> int:
    text = os.environ.get(name) or str(usual)
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{name}: expects a whole number of at least 1")
    return int(text)
