"""The recipes of deploy/: what other programs read of them is as those programs expect it."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
KUBERAY = {doc["kind"]: doc for doc in yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())}
CLUSTER = KUBERAY["RayCluster"]["spec"]
LAUNCHER: dict[str, Any] = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())


def ray_start(*options: str) -> dict[str, Any]:
    """The options of `ray start` as it reads them itself, which refuses what it does not know."""
    parsed: dict[str, Any] = cli.commands["start"].make_context("start", list(options)).params
    return parsed


def by_kuberay(parameters: dict[str, str]) -> dict[str, Any]:
    """The operator writes --NAME=VALUE into a shell's command line."""
    return ray_start(*shlex.split(" ".join(f"--{name}={value}" for name, value in parameters.items())))


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_kuberays_fields_are_those_that_it_has(kind: str) -> None:
    schema = yaml.safe_load((Path(__file__).parent / "kuberay-schema.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(KUBERAY[kind])


def test_rays_autoscaler_reads_what_kuberays_cluster_offers() -> None:
    metadata = KUBERAY["RayCluster"]["metadata"] | {"namespace": "default"}
    read = _derive_autoscaling_config_from_ray_cr(KUBERAY["RayCluster"] | {"metadata": metadata})
    offered = {name: group["resources"] for name, group in read["available_node_types"].items()}
    memory = 6 * 2**30
    assert offered["headgroup"] == {"CPU": 0, "driver": 4, "memory": memory}
    assert offered["workers"] == {"CPU": 2, "memory": memory}
    assert (read["max_workers"], read["idle_timeout_minutes"]) == (8, 5)


def test_kuberays_nodes_are_started_with_options_that_ray_has() -> None:
    groups = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
    started = [by_kuberay(group["rayStartParams"]) for group in groups]
    assert started[0]["num_cpus"] == 0 and json.loads(started[0]["resources"]) == {"driver": 4}
    for group, options in zip(groups, started, strict=True):
        volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
        shared = volumes["shared-memory"]["emptyDir"]["sizeLimit"]
        assert options["object_store_memory"] < int(shared.removesuffix("Gi")) * 2**30


def test_kuberays_cluster_asks_for_a_token_and_has_the_version_of_ray_that_is_installed() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert CLUSTER["rayVersion"] == ray.__version__


def test_kuberays_job_finds_its_cluster_and_what_it_asks_for() -> None:
    job = KUBERAY["RayJob"]["spec"]
    assert job["clusterSelector"] == {"ray.io/cluster": KUBERAY["RayCluster"]["metadata"]["name"]}
    offered = by_kuberay(CLUSTER["headGroupSpec"]["rayStartParams"])
    assert json.loads(job["entrypointResources"]).keys() <= json.loads(offered["resources"]).keys()


def test_kuberays_pods_mount_what_they_declare() -> None:
    pod = CLUSTER["headGroupSpec"]["template"]["spec"]
    declared = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]} == declared
    claim = next(v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if v["name"] == "results")
    assert claim == KUBERAY["PersistentVolumeClaim"]["metadata"]["name"]


def test_every_node_has_the_pictures_where_spaces_look_for_them() -> None:
    for group in (CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        where = {variable["name"]: variable.get("value") for variable in container["env"]}["SWEEPER_DATA"]
        assert where in {mount["mountPath"] for mount in container["volumeMounts"]}
    options = LAUNCHER["docker"]["run_options"]
    where = next(o for o in options if o.startswith("--env=SWEEPER_DATA=")).rpartition("=")[2]
    assert any(o.startswith("--volume=") and o.split(":")[1] == where for o in options)


def test_the_launchers_file_follows_rays_schema() -> None:
    validate_config(prepare_config(LAUNCHER))


@pytest.mark.parametrize("role", ["head", "worker"])
def test_the_launcher_starts_ray_with_options_that_it_has(role: str) -> None:
    stop, start = map(shlex.split, LAUNCHER[f"{role}_start_ray_commands"])
    assert stop == ["ray", "stop"] and start[:2] == ["ray", "start"]
    options = ray_start(*start[2:])
    shared = next(o for o in LAUNCHER["docker"]["run_options"] if o.startswith("--shm-size="))
    assert options["object_store_memory"] < int(shared.removeprefix("--shm-size=").removesuffix("m")) * 2**20


def test_slurms_script_is_a_shells() -> None:
    script = str(DEPLOY / "slurm.sh")
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        checked = subprocess.run(["shellcheck", script], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


def test_slurms_script_says_how_it_is_used() -> None:
    said = subprocess.run(["bash", str(DEPLOY / "slurm.sh")], capture_output=True, text=True)
    assert said.returncode == 2 and said.stderr.startswith("usage: sbatch")
