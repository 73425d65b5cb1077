"""Ray: started in this process, or joined."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from search_spaces import Space
from sweeper.errors import UserError

# Tune's own logs and snapshots are not used: the study is the truth.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# The driver's own handlers end a sweep cleanly; Tune's would swallow Ctrl-C.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


LOCAL = "local"


def whereabouts(address: str | None) -> str:
    """The address of the cluster to join, given or from ``RAY_ADDRESS``, or `LOCAL`."""
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


@contextmanager
def cluster(where: str) -> Iterator[None]:
    """Ray for the length of a sweep, started here or joined.

    Raises:
        UserError: the cluster cannot be reached.
    """
    options = {"include_dashboard": False} if where == LOCAL else {}
    try:
        ray.init(address=where, log_to_driver=False, logging_level="ERROR", **options)
    except ConnectionError as error:
        raise UserError(
            f"no Ray cluster answers at '{where}' ({error}); leave --address out to start one here"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def slots(space: Space) -> int:
    """How many Tune trials fit into the cluster at the same time.

    Raises:
        UserError: not even one fits.
    """
    there = ray.cluster_resources()
    asked = {"CPU": space.resources.cpus_per_trial, "GPU": space.resources.gpus_per_trial}
    fit = min(int(there.get(kind, 0) / amount + 1e-9) for kind, amount in asked.items() if amount)
    if fit < 1:
        has = ", ".join(f"{there.get(kind, 0):g} {kind}" for kind in asked)
        raise UserError(
            f"resources: a trial asks for {asked['CPU']:g} CPU and {asked['GPU']:g} GPU, the cluster "
            f"has {has}; lower resources.cpus_per_trial or resources.gpus_per_trial"
        )
    return fit
