"""Real sweeps, run by the command line in a folder of their own."""

from pathlib import Path

import pytest
from workplace import Workplace


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A sweep that has run to its end: two trials inside the budget and one that fails, two baselines."""
    place = Workplace(tmp_path_factory.mktemp("finished"))
    (place.folder / "output.txt").write_text(
        place.run(
            "search={sampler: grid, trials: 3, parameters: {training.lr: {choices: [1e-3, 1e+30, 4e-3]}}}",
            "budget={active_blocks: 32}",
            "baselines=[zero_shot, linear]",
        )
    )
    return place
