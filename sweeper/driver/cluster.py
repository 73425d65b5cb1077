"""Ray: started in this process, or joined."""

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search_spaces import Space
from sweeper.errors import UserError
from sweeper.storage.results import is_there, mark

# Tune's own logs and snapshots are not used: the study is the truth.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "86400")
# The driver's own handlers end a sweep cleanly; Tune's would swallow Ctrl-C.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


# It would name its trials that ended with an error, which are packs; what became of them a person is told.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)

LOCAL = "local"
_ANSWERS = 5.0  # seconds within which the head of a cluster takes a connection
_LOOK = 1.0  # seconds between two looks for a node
# Bytes: a socket's path has 107 at most, and Ray puts up to 72 behind the folder.
_LONGEST_FOLDER = 35
# The driver's own code goes to every node of a cluster that it joins: no node runs another version.
_CODE = [str(Path(__file__).parents[2] / package) for package in ("search_spaces", "trainables", "sweeper")]


def whereabouts(address: str | None) -> str:
    """The address of the cluster to join, given or from ``RAY_ADDRESS``, or `LOCAL`."""
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


def check_address(where: str) -> None:
    """Checks that something listens at the address of a cluster; Ray itself would try for minutes.

    Raises:
        UserError: nothing does, or it is not an address of Ray.
    """
    if where in (LOCAL, "auto"):
        return
    scheme, _, rest = where.rpartition("://")
    try:
        parsed = urlsplit(f"//{rest}")
        place = (parsed.hostname, parsed.port)
    except ValueError:
        place = (None, None)
    if scheme not in ("", "ray") or None in place:
        raise UserError(
            f"--address {where}: expects host:port or ray://host:port of a Ray cluster, such as head:6379; "
            "a service of this project is asked by --server"
        )
    try:
        socket.create_connection(place, timeout=_ANSWERS).close()
    except OSError as error:
        raise _no_answer(where, error) from None


def _no_answer(where: str, error: Exception) -> UserError:
    return UserError(
        f"no Ray cluster answers at '{where}' ({error}); leave --address out and RAY_ADDRESS unset to start "
        "one here"
    )


@contextmanager
def _sockets() -> Iterator[dict[str, str]]:
    """Options that have a cluster's sockets in a folder whose path is short enough for a socket's."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as short:
        yield {"_temp_dir": short}


@contextmanager
def cluster(where: str) -> Iterator[None]:
    """Ray for the length of a sweep, started here or joined.

    Raises:
        UserError: the cluster cannot be reached, or this process uses one already.
    """
    if ray.is_initialized():
        raise UserError(
            "Ray is in use in this process, by another sweep or by yourself: wait for its end, or call "
            "ray.shutdown()"
        )
    check_address(where)
    with _sockets() as short:
        local = {"include_dashboard": False, **short}
        options = local if where == LOCAL else {"runtime_env": {"py_modules": _CODE}}
        try:
            ray.init(address=where, log_to_driver=False, logging_level="ERROR", **options)
        except ConnectionError as error:
            raise _no_answer(where, error) from None
        try:
            yield
        finally:
            ray.shutdown()


def asked(space: Space) -> dict[str, float]:
    """What a trial asks of a node, by Ray's names."""
    resources = space.resources
    wanted = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial, **resources.custom}
    return {name: amount for name, amount in wanted.items() if amount}


def slots(space: Space) -> int:
    """How many Tune trials fit into the cluster at the same time."""
    return sum(_fit(node, asked(space)) for node in _nodes())


def busy(space: Space) -> str | None:
    """What a trial waits for as things are, since others use it: ``waiting for 1 GPU: 0 of 4 free``."""
    free, there = ray.available_resources(), ray.cluster_resources()
    for name, amount in asked(space).items():
        if free.get(name, 0) < amount:
            return f"waiting for {amount:g} {name}: {free.get(name, 0):g} of {there.get(name, 0):g} free"
    return None


def wait_for_room(space: Space, where: str, say: Callable[[str], None]) -> None:
    """Returns when a node has room for a trial.

    Args:
        space: says what a trial asks for.
        where: the address of the cluster.
        say: told what is waited for on a cluster that was joined: it may yet grow, from no node at all; and
            of GPUs that no trial will use.

    Raises:
        UserError: none has here, where no node comes.
    """
    if slots(space):
        if not space.resources.gpus_per_trial and any(node["Resources"].get("GPU") for node in _nodes()):
            say("resources.gpus_per_trial is 0, so trials train on processors, though there are GPUs")
        return
    lacking = _lacking(space)
    if where == LOCAL:
        raise UserError(
            f"{lacking}; lower resources.cpus_per_trial, resources.gpus_per_trial or resources.custom, or "
            "add a node"
        )
    say(f"waits for a node: {lacking}")
    wanted = asked(space)
    # A cluster grows by what is asked of it.
    demand = ray.remote(
        num_cpus=wanted.pop("CPU", 0), num_gpus=wanted.pop("GPU", 0), resources=wanted, max_retries=-1
    )(_nothing).remote()
    while not slots(space):
        ray.wait([demand], timeout=_LOOK)
    say("a node is there")


def _nothing() -> None:
    """Needs a node."""


def _lacking(space: Space) -> str:
    wanted = asked(space)
    needs = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items())
    there = "; ".join(
        ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in wanted) for node in _nodes()
    )
    return f"resources: a trial asks for {needs} on one node, the nodes have {there or 'left'}"


def check_shared(results: str | None, space: Space) -> None:
    """Checks that every node that trials may run on sees where checkpoints are kept.

    Args:
        results: a folder or a URL; None for the sweep's own folder on this machine.
        space: says what a node must have.

    Raises:
        UserError: a node does not.
    """
    nodes = [node for node in _nodes() if _fit(node, asked(space))]
    if results is None:
        others = {node["NodeManagerHostname"] for node in nodes} - {socket.gethostname()}
        if others:
            raise UserError(
                f"trials may run on {', '.join(sorted(others))}, which cannot see a folder of this machine: "
                "give --results, a folder that all machines see or a URL such as s3://bucket/sweeps"
            )
        return
    with mark(results) as file:
        looks = ray.remote(num_cpus=0, max_retries=0)(is_there)
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            if not ray.get(looks.options(scheduling_strategy=there).remote(file)):
                host = node["NodeManagerHostname"]
                raise UserError(
                    f"--results {results}: what is written there is not seen on {host}; "
                    "mount it on every machine, or use a URL such as s3://bucket/sweeps"
                )


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _fit(node: Mapping[str, Any], wanted: Mapping[str, float]) -> int:
    """How many trials find room on a node."""
    return min(int(node["Resources"].get(name, 0) / amount + 1e-9) for name, amount in wanted.items())
