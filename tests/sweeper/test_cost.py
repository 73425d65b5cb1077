"""What `validate` says a sweep costs is timed as a trial computes."""

from pathlib import Path

import pytest
import torch

from search_spaces import load_space
from sweeper.commands.cost import estimate
from trainables import open_problem

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"
SMALL = ["data.id.limit=20", "data.ood=[]", "data.probes=[{source: glyphs, limit: 20}]", "training.epochs=2"]


@pytest.mark.parametrize("cpus", [1, 2])
def test_it_is_timed_with_the_threads_of_a_trial(cpus: int) -> None:
    space = load_space(SHIPPED, [*SMALL, f"resources.cpus_per_trial={cpus}", "baselines=[full]"])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        cost = estimate(open_problem(space), space)
        assert torch.get_num_threads() == cpus
    finally:
        torch.set_num_threads(before)
    rounds = -(-(space.search.trials + 1) // cost.at_once)
    assert cost.sweep == pytest.approx(rounds * cost.trial)
