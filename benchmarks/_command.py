"""How results say by which command they were measured; needs nothing that is not Python's own."""

import shlex
import sys


def command(name: str) -> str:
    """As this process was started, without the folders of this machine."""
    told = list(sys.argv[1:])
    for folder in ("--out", "--work"):
        if folder in told:
            del told[told.index(folder) : told.index(folder) + 2]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *told])
