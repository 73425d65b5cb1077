"""Whether a space can be met by its model."""

from search_spaces import Space
from sweeper.errors import UserError
from trainables.backbones import Backbone
from trainables.errors import at
from trainables.methods import candidate_blocks, check_settings


def check_fit(space: Space, backbone: Backbone) -> tuple[str, ...]:
    """Names of the candidate blocks of the searched method.

    Raises:
        ProblemError: the method or a baseline asks for layers, blocks or towers that the model has not.
        UserError: the budget cannot be met by any trial.
    """
    settings = space.dump()["method"]
    with at("method"):
        check_settings(backbone, settings)
    for run in space.baseline_runs:
        with at(f"baselines: {run.label}: method"):
            check_settings(backbone, space.for_baseline(run.label).dump()["method"])
    blocks = candidate_blocks(backbone, settings)
    check_budget(space, len(blocks))
    return blocks


def check_budget(space: Space, blocks: int) -> int:
    """Active blocks asked for, of ``blocks``.

    Raises:
        UserError: the budget cannot be met by any trial.
    """
    try:
        return space.budget.count(blocks)
    except ValueError as error:
        raise UserError(str(error)) from None
