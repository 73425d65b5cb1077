"""A sweep that begins with the trials of another."""

from pathlib import Path

import pytest
from workplace import Workplace, runs, trials


@pytest.mark.slow
def test_a_sweep_goes_on_from_the_trials_of_another(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    small = ("data.ood=[]", "baselines=[]", "search.trials=1", "training.epochs=1")
    place.run(*small, "budget={active_blocks: 32}", "sweep=first")
    output = place.run(*small, "budget={active_blocks: 32}", "sweep=second", "search.from=first")
    assert "search.from: 1 of 1 complete trials of 'first' are taken over" in output
    first, second = trials(place, "first"), trials(place, "second")
    assert list(second["taken_over"].notna()) == [True, False]
    same = ["method.lambda", "method.rank", "id_accuracy", "forgetting", "test/id_accuracy", "active"]
    assert second.loc["trial-0000", same].equals(first.loc["trial-0000", same])
    there = (place.folder / "sweeps" / "second" / "trials" / "trial-0000").iterdir()
    assert [file.name for file in there] == ["checkpoint.safetensors"]
    tagged = {run.data.tags["key"]: run.data.tags.get("taken_over", "") for run in runs(place, "second")}
    assert tagged["trial-0000"].endswith("/sweeps/first/trials/trial-0000") and not tagged["trial-0001"]
    page = (place.folder / "sweeps" / "second" / "report" / "index.html").read_text()
    assert "from first" in page
