"""Writes the part of requirements.lock that an image needs: `python tools/image/requirements.py cpu|gpu`.

The lock says below each package what asks for it (`# via`). So what runs a sweep can be told from what tests
it, and every package that is left keeps its version and its hashes.
"""

import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
EXTRAS = ("huggingface", "peft")
# PyTorch asks for them on Linux: CUDA, and the compiler of kernels for GPUs.
CUDA = re.compile(r"nvidia-|cuda-|triton$")
_NAME = re.compile(r"[\w.-]+")
_ENTRY = re.compile(r"^(?P<name>[a-z0-9][\w.-]*)==.*(?:\n[ #].*)*", re.MULTILINE)
_PARENTS = re.compile(r"^    #(?: via|  ) (\S+)", re.MULTILINE)


def select(lock: str, project: dict[str, object], variant: str) -> list[str]:
    """The lock's entries, with hashes, that the project and its `EXTRAS` lead to.

    Args:
        lock: the text of requirements.lock.
        project: the table `project` of pyproject.toml.
        variant: "gpu" for all of them, "cpu" for those without `CUDA`.
    """
    entries = {found["name"]: found.group() for found in _ENTRY.finditer(lock)}
    parents = {name: set(_PARENTS.findall(entry)) for name, entry in entries.items()}
    kept = _roots(project) & entries.keys()
    while more := {name for name in entries.keys() - kept if parents[name] & kept}:
        kept |= more
    return [entries[name] for name in sorted(kept) if variant == "gpu" or not CUDA.match(name)]


def _roots(project: dict[str, object]) -> set[str]:
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]  # type: ignore[misc]
    return {_NAME.match(line).group().lower().replace("_", "-") for line in lines}  # type: ignore[union-attr]


if __name__ == "__main__":
    if sys.argv[1:] not in (["cpu"], ["gpu"]):
        sys.exit(f"VARIANT is cpu or gpu, not {' '.join(sys.argv[1:])!r}")
    table = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    print("\n".join(select((REPOSITORY / "requirements.lock").read_text(), table, sys.argv[1])))
