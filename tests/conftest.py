"""No test asks a hub for weights, nor uses what this machine has kept of other runs."""

import os
import tempfile

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
_CACHE = tempfile.TemporaryDirectory(prefix="sweeper-cache-")
os.environ["SWEEPER_CACHE"] = _CACHE.name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Architectures at their real size are tested where a person asks for them by the marker."""
    if "real_size" not in config.option.markexpr:
        chosen = [item for item in items if "real_size" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
