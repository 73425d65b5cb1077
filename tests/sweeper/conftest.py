"""Real sweeps, run by the command line in a folder of their own, and a real browser."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from workplace import FINISHED, Workplace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A sweep that has run to its end: two trials inside the budget and one that fails, two baselines."""
    place = Workplace(tmp_path_factory.mktemp("finished"))
    (place.folder / "output.txt").write_text(place.run(*FINISHED))
    return place


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a screen and without the network that it would use by itself."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on the path (apt-get install chromium)")
    quiet = ("background-networking", "component-update", "sync", "gpu", "dev-shm-usage")
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield opened
        opened.close()
