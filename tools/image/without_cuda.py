"""Puts empty libraries in the place of CUDA's: `python tools/image/without_cuda.py FOLDER/torch/lib`.

PyTorch's wheel for Linux links to CUDA's libraries, 3 GB of them, and cannot be imported without them; on a
machine that has no GPU none of their functions does any work. Each is replaced by a library of the same name,
whose functions all answer 100: no device (cudaErrorNoDevice). PyTorch itself stays as it was tested.
Needs gcc and readelf.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

_LIBRARY = re.compile(r"\(NEEDED\).*\[(lib(?:cu|nv|nccl)[^]]+)\]")
_FUNCTION = re.compile(r" UND +((?:__)?(?:cu|nv|nccl)\w+)")
_VERSION = re.compile(r"File: (lib(?:cu|nv|nccl)\S+) .*\n.*Name: (\S+)")


def replace_cuda(folder: Path) -> list[str]:
    """Writes the empty libraries beside PyTorch's own, where those look for them; their names."""
    own = sorted(folder.glob("lib*.so"))
    needed = set(_LIBRARY.findall(_read("--dynamic", *own)))
    functions = sorted(set(_FUNCTION.findall(_read("--dyn-syms", *own))))
    versions = dict(_VERSION.findall(_read("--version-info", *own)))
    code = "".join(f"int {name}(void) {{ return 100; }}\n" for name in functions)
    for name in needed:
        _compile(code, folder / name, versions.get(name, ""))
    return sorted(needed)


def _compile(code: str, library: Path, version: str) -> None:
    """Compiles a library whose functions have the version that PyTorch asks for, if any."""
    with tempfile.NamedTemporaryFile("w") as script:
        script.write(f"{version} {{ global: *; }};\n")
        script.flush()
        linked = ["-shared", "-fPIC", f"-Wl,-soname={library.name}", f"-Wl,--version-script={script.name}"]
        command = ["gcc", "-x", "c", "-fno-builtin", *linked, "-o", str(library), "-"]
        subprocess.run(command, input=code, text=True, check=True)


def _read(what: str, *libraries: Path) -> str:
    command = ["readelf", "--wide", what, *map(str, libraries)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print("without CUDA:", *replace_cuda(Path(sys.argv[1])))
