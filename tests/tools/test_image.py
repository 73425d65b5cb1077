"""What the image is built from: the part of the lock that runs sweeps, with CUDA and without."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
TOOL = REPOSITORY / "tools" / "image" / "requirements.py"
DEPENDENCIES = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def lines(variant: str) -> dict[str, str]:
    """Of each package that the tool writes, its entry with its hashes."""
    written = subprocess.run([sys.executable, TOOL, variant], check=True, capture_output=True, text=True)
    entries = re.split(r"^(?=[a-z0-9])", written.stdout, flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries if entry.strip()}


def closure(*lines: str) -> set[str]:
    """The packages that requirements lead to on this machine, by what is installed here."""
    found: set[tuple[str, str]] = set()
    left = [Requirement(line) for line in lines]
    while left:
        asked = left.pop()
        name = canonicalize_name(asked.name)
        for extra in ("", *asked.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            further = [Requirement(line) for line in requires(name) or ()]
            left += [one for one in further if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def test_the_image_has_what_the_project_leads_to_and_nothing_else() -> None:
    extras = DEPENDENCIES["optional-dependencies"]
    wanted = closure(*DEPENDENCIES["dependencies"], *extras["huggingface"], *extras["peft"])
    assert set(lines("gpu")) == wanted


def test_without_a_gpu_only_cuda_is_left_out() -> None:
    cpu, gpu = lines("cpu"), lines("gpu")
    assert cpu.items() <= gpu.items()
    # Who makes a package is told by its name there.
    assert all(name.startswith(("nvidia-", "cuda-")) or name == "triton" for name in gpu.keys() - cpu.keys())
    assert "torch" in cpu and not any("nvidia" in name for name in cpu)


def test_every_version_has_its_hashes() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert all("--hash=sha256:" in entry and entry.strip() in lock for entry in lines("gpu").values())


def test_an_unknown_variant_is_refused() -> None:
    said = subprocess.run([sys.executable, TOOL, "tpu"], capture_output=True, text=True)
    assert said.returncode != 0 and "VARIANT is cpu or gpu, not 'tpu'" in said.stderr


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_no_tool_of_tests_is_in_the_image(variant: str) -> None:
    assert not {"pytest", "mypy", "moto", "playwright", "ruff"} & lines(variant).keys()
