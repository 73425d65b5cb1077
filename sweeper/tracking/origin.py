"""Where a sweep comes from, under MLflow's own names."""

import getpass
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

_PACKAGE = "selective-lora-sweeper"


def origin(source: Path | None) -> Mapping[str, str]:
    """Tags: who runs the sweep, with which version of this package, and from which space file.

    Of a space file that is in a Git repository, also the commit that is checked out there.
    """
    tags = {}
    with suppress(PackageNotFoundError):  # run from its sources, not installed
        tags["version"] = version(_PACKAGE)
    with suppress(OSError, KeyError):  # a user without a name, as in a container
        tags[MLFLOW_USER] = getpass.getuser()
    if source is not None:
        tags |= {MLFLOW_SOURCE_NAME: str(source), MLFLOW_SOURCE_TYPE: "LOCAL"}
        if commit := get_git_commit(str(source.absolute().parent)):
            tags[MLFLOW_GIT_COMMIT] = commit
    return tags
