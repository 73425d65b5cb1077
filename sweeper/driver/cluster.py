"""Ray: started in this process, or joined."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


LOCAL = "local"
# The driver's own code goes to every node of a cluster that it joins: no node runs another version.
_CODE = [str(Path(__file__).parents[2] / package) for package in ("search_spaces", "trainables", "sweeper")]


def whereabouts(address: str | None) -> str:
    """The address of the cluster to join, given or from ``RAY_ADDRESS``, or `LOCAL`."""
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


@contextmanager
def cluster(where: str) -> Iterator[None]:
    """Ray for the length of a sweep, started here or joined.

    Raises:
        UserError: the cluster cannot be reached.
    """
    options = {"include_dashboard": False} if where == LOCAL else {"runtime_env": {"py_modules": _CODE}}
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


def asked(space: Space) -> dict[str, float]:
    """What a trial asks of a node, by Ray's names."""
    resources = space.resources
    wanted = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial, **resources.custom}
    return {name: amount for name, amount in wanted.items() if amount}


def slots(space: Space) -> int:
    """How many Tune trials fit into the cluster at the same time.

    Raises:
        UserError: not even one fits on a node.
    """
    wanted, nodes = asked(space), _nodes()
    fit = sum(_fit(node, wanted) for node in nodes)
    if fit < 1:
        needs = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items())
        there = "; ".join(
            ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in wanted) for node in nodes
        )
        raise UserError(
            f"resources: a trial asks for {needs} on one node, the nodes have {there}; lower "
            "resources.cpus_per_trial, resources.gpus_per_trial or resources.custom, or add a node"
        )
    return fit


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
