"""docker-compose.yml itself: valid, closed to the network, and in agreement with what it starts."""

import json
import re
import shlex
from typing import Any

import compose_file
import jsonschema
import mlflow.cli
import pytest
import typer.main
from ray.scripts import scripts as ray_cli

from sweeper.cli import app

REPOSITORY = compose_file.REPOSITORY
SECRETS = {"POSTGRES_PASSWORD", "RAY_AUTH_TOKEN", "SWEEPER_TOKEN"}
GIVEN = {name: f"a-secret-for-{name.lower()}" for name in SECRETS}
RAW = compose_file.raw()["services"]
FILLED: dict[str, Any] = compose_file.load(GIVEN)["services"]
RAY = ("head", "worker", "worker-gpu")
services = pytest.mark.parametrize("name", list(FILLED))


def example() -> dict[str, str]:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("file", [compose_file.raw(), compose_file.load(GIVEN)], ids=["written", "filled"])
def test_the_file_follows_the_specification(file: dict[str, Any]) -> None:
    schema = json.loads((REPOSITORY / "tests/cluster/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(file)


@services
def test_nothing_is_open_beyond_this_machine(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in FILLED[name].get("ports", ()))
    assert "network_mode" not in FILLED[name]
    assert not FILLED[name].get("privileged")


def test_people_reach_the_service_and_mlflow_alone() -> None:
    published = {name: service["ports"] for name, service in FILLED.items() if "ports" in service}
    assert published == {"mlflow": ["127.0.0.1:5000:5000"], "service": ["127.0.0.1:8080:8080"]}


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_a_secret_has_no_value_but_the_one_that_is_set(secret: str) -> None:
    assert example()[secret] == ""
    with pytest.raises(KeyError, match=f"{secret}: set it in .env"):
        compose_file.load(GIVEN | {secret: ""})


def test_secrets_are_what_is_set_and_nothing_that_is_written_down() -> None:
    files = compose_file.raw()["configs"]
    for source in compose_file.secret_files(compose_file.raw()):
        assert re.search(r"(?:^|:)\$\{\w+:\?set it in \.env\}$", files[source]["content"]), source
    filled = compose_file.load(GIVEN)["configs"]
    assert all(any(secret in file["content"] for file in filled.values()) for secret in GIVEN.values())


@services
def test_no_environment_has_a_secret(name: str) -> None:
    environment = str(FILLED[name]["environment"])
    assert not [secret for secret in GIVEN.values() if secret in environment]


@services
def test_a_secret_is_a_file_for_the_user_of_its_container_alone(name: str) -> None:
    # The server of PostgreSQL is started by root, all else by the image's user.
    owner = {} if name == "postgres" else {"uid": "1000", "gid": "1000"}
    for config in FILLED[name]["configs"]:
        if config["target"].startswith("/run/secrets/"):
            assert {key: config.get(key) for key in ("uid", "gid") if key in config} == owner
            assert config["mode"] == 0o400


@services
def test_what_an_environment_names_as_a_file_is_there(name: str) -> None:
    named = [v for v in FILLED[name]["environment"].values() if str(v).startswith("/run/secrets/")]
    given = {config["target"] for config in FILLED[name]["configs"]}
    assert set(named) == {target for target in given if target.startswith("/run/secrets/")}


@services
def test_no_secret_is_on_a_command_line_or_in_a_health_check(name: str) -> None:
    words = [*FILLED[name].get("command", ()), *FILLED[name]["healthcheck"]["test"]]
    assert not [word for word in words for secret in GIVEN.values() if secret in word]


@pytest.mark.parametrize("name", ["worker", "worker-gpu", "mlflow", "postgres"])
def test_only_drivers_and_the_service_get_the_study_or_the_services_token(name: str) -> None:
    assert not {"SWEEPER_STORAGE", "SWEEPER_TOKEN_FILE"} & FILLED[name]["environment"].keys()


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_workers_get_no_password(name: str) -> None:
    assert [config["source"] for config in FILLED[name]["configs"]] == ["ray-token"]


@services
def test_every_service_is_watched_and_comes_back(name: str) -> None:
    assert FILLED[name]["restart"] == "unless-stopped"
    check = FILLED[name]["healthcheck"]
    assert check["test"][0] == "CMD" and {"interval", "timeout", "retries"} <= check.keys()


@services
def test_a_service_waits_until_what_it_needs_is_healthy(name: str) -> None:
    for needed, how in FILLED[name].get("depends_on", {}).items():
        assert needed in FILLED and how == {"condition": "service_healthy"}


def test_every_part_of_the_cluster_asks_for_one_token() -> None:
    for name in (*RAY, "service"):
        environment = FILLED[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        token = {config["target"]: config["source"] for config in FILLED[name]["configs"]}
        assert token[environment["RAY_AUTH_TOKEN_PATH"]] == "ray-token"


def test_the_example_names_every_variable_and_no_other() -> None:
    assert example().keys() == compose_file.names()


def test_the_examples_values_are_the_defaults() -> None:
    assert compose_file.load(example() | GIVEN) == compose_file.load(GIVEN)


def test_volumes_are_declared_and_in_use() -> None:
    used = {volume.split(":")[0] for service in FILLED.values() for volume in service.get("volumes", ())}
    assert {volume for volume in used if not volume.startswith(".")} == compose_file.raw()["volumes"].keys()


def test_drivers_and_the_service_share_a_working_directory_and_all_nodes_the_results() -> None:
    assert FILLED["head"]["volumes"] == FILLED["service"]["volumes"]
    assert FILLED["head"]["working_dir"] == FILLED["service"]["working_dir"] == "/home/sweeper/work"
    assert all("results:/results" in FILLED[name]["volumes"] for name in RAY)


def test_drivers_and_trials_read_the_same_pictures_and_what_is_decoded_of_them() -> None:
    wanted = {volume for volume in FILLED["head"]["volumes"] if not volume.startswith(("work:", "results:"))}
    assert len(wanted) == 2
    assert all(wanted <= set(FILLED[name]["volumes"]) for name in RAY)


@pytest.mark.parametrize("name", RAY)
def test_shared_memory_holds_the_object_store(name: str) -> None:
    parsed = parse(FILLED[name]["command"])
    assert int(FILLED[name]["shm_size"].removesuffix("m")) * 2**20 > parsed["object_store_memory"]


def test_the_head_runs_drivers_and_no_trial() -> None:
    head = parse(FILLED["head"]["command"])
    assert head["head"] and head["num_cpus"] == head["num_gpus"] == 0
    assert json.loads(head["resources"]) == {"driver": 4}


@pytest.mark.parametrize("name", [name for name in FILLED if "command" in FILLED[name]])
def test_a_command_has_options_that_exist(name: str) -> None:
    parse(FILLED[name]["command"])


def parse(command: list[str]) -> dict[str, Any]:
    """The options of a command as its own program reads them, which refuses what it does not know."""
    # Typer has a copy of click of its own.
    programs: dict[str, Any] = {
        "ray": ray_cli.cli,
        "mlflow": mlflow.cli.cli,
        "python -m sweeper": typer.main.get_command(app),
    }
    line = shlex.join(command)
    program = next(name for name in programs if line.startswith(f"{name} "))
    word, *options = command[len(program.split()) :]
    parsed: dict[str, Any] = programs[program].commands[word].make_context(word, options).params
    return parsed


def test_the_image_gets_what_it_copies_and_no_secret() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((REPOSITORY / source).exists() for source in copied)
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE)[-1] == "1000"
