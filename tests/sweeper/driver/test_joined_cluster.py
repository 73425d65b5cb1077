"""Addresses of clusters, and what a Ray here needs."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
from postgres import free_port
from ray.cluster_utils import Cluster

from search_spaces import load_space
from sweeper.driver.cluster import busy, check_address, wait_for_room
from sweeper.errors import UserError

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_an_address_where_nothing_listens_is_said_at_once(address: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no Ray cluster answers at .*refused") as caught:
        check_address(address.format(port=free_port()))
    assert time.monotonic() - start < 5 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://head:8265", "head", "head:port", "ray://head", "[::1", "redis://a:1"]
)
def test_what_is_no_address_of_ray_is_said(address: str) -> None:
    with pytest.raises(UserError, match="expects host:port or ray://host:port") as caught:
        check_address(address)
    assert "\n" not in str(caught.value)


IN_A_LONG_FOLDER = """
import ray
from sweeper.driver.cluster import LOCAL, cluster
with cluster(LOCAL):
    print(ray.get(ray.remote(num_cpus=1)(lambda: 42).remote()))
"""


@pytest.mark.slow
def test_ray_starts_where_the_folder_for_temporary_files_has_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("slurm-job-" * 12)
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"}
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_LONG_FOLDER],
        env=environment | {"TMPDIR": str(folder), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.stdout.strip() == "42", ended.stderr


@pytest.mark.slow
def test_a_node_that_is_still_to_come_is_waited_for() -> None:
    said: list[str] = []
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", ["resources.custom={fast: 1}"])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        with pytest.raises(UserError, match=r"a trial asks for 1 CPU, 1 fast on one node.*lower"):
            wait_for_room(space, "local", said.append)
        waiting = threading.Thread(target=wait_for_room, args=(space, made.address, said.append))
        waiting.start()
        time.sleep(3)
        assert waiting.is_alive()
        assert said == [
            "waits for a node: resources: a trial asks for 1 CPU, 1 fast on one node, "
            "the nodes have 0 CPU, 0 fast"
        ]
        made.add_node(num_cpus=1, resources={"fast": 1})
        waiting.join(timeout=60)
        assert said[1:] == ["a node is there"]
        made.add_node(num_cpus=1, num_gpus=1)
        wait_for_room(space, made.address, said.append)
        assert said[2:] == [
            "resources.gpus_per_trial is 0, so trials train on processors, though there are GPUs"
        ]
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.slow
def test_what_others_use_is_named() -> None:
    space = load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", ["resources.custom={fast: 1}"])
    ray.init(address="local", num_cpus=2, resources={"fast": 1}, include_dashboard=False, log_to_driver=False)
    try:
        assert busy(space) is None
        other = ray.remote(num_cpus=1, resources={"fast": 1})(threading.Event).remote()
        ray.get(other.is_set.remote())
        while (told := busy(space)) is None:  # Ray counts once a moment
            time.sleep(0.1)
        assert told == "waiting for 1 fast: 0 of 1 free"
    finally:
        ray.shutdown()
