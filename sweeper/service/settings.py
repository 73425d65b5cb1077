"""How a service is set up: by the environment that it shares with the jobs it submits."""

import os
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from search_spaces.load import LARGEST_FILE
from sweeper.errors import UserError


@dataclass(frozen=True)
class Settings:
    """What a service is told.

    Attributes:
        storage: SQLAlchemy URL of the Optuna storage; None for the journals in ./sweeps.
        token: what a client must show; None asks for nothing, and only loopback is then answered.
        mlflow: MLflow's tracking URI; linked to where it is http or https.
        mlflow_page: the address under which browsers reach MLflow, if it is another.
        rate: requests a second that one client may go on making.
        burst: requests that one client may make at once.
        largest_body: bytes of a request's body.
    """

    storage: str | None = None
    token: str | None = None
    mlflow: str | None = None
    mlflow_page: str | None = None
    rate: float = 20.0
    burst: int = 100
    largest_body: int = LARGEST_FILE

    @classmethod
    def from_environment(cls) -> Self:
        """Those of the environment: SWEEPER_STORAGE, SWEEPER_TOKEN, MLFLOW_TRACKING_URI, SWEEPER_MLFLOW."""
        return cls(
            storage=os.environ.get("SWEEPER_STORAGE") or None,
            token=os.environ.get("SWEEPER_TOKEN") or None,
            mlflow=os.environ.get("MLFLOW_TRACKING_URI") or None,
            mlflow_page=os.environ.get("SWEEPER_MLFLOW") or None,
        )

    def check_host(self, host: str) -> None:
        """Refuses to be open to the network without a token.

        Raises:
            UserError: the host is beyond loopback and there is no token.
        """
        if self.token is None and not is_loopback(host):
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
