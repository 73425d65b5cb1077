"""Reads docker-compose.yml as `docker compose` would, as far as that file goes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docker-compose.yml"

# $$, ${NAME:-default} or ${NAME:?what to do}
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


def raw() -> dict[str, Any]:
    """The file with its variables as they are written."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables filled in.

    Raises:
        KeyError: one that must be given is missing or empty.
    """
    filled: dict[str, Any] = _fill(raw(), variables)
    return filled


def names() -> set[str]:
    """All variables that the file asks for."""
    return {found["name"] for found in _VARIABLE.finditer(FILE.read_text()) if found["name"]}


def secret_files(file: Mapping[str, Any]) -> dict[str, str]:
    """Of each secret that services are given as a file, where they see it."""
    given = [config for service in file["services"].values() for config in service.get("configs", ())]
    return {one["source"]: one["target"] for one in given if one["target"].startswith("/run/secrets/")}


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, variables) for inner in value]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda found: _value(found, variables), value)


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind = found["name"], found["kind"]
    if name is None:
        return "$"
    given = variables.get(name, "")
    if not given and kind == "?":
        raise KeyError(f"{name}: {found['rest']}")
    return given or (found["rest"] if kind == "-" else "")
