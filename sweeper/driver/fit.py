"""Whether a space can be met by its model."""

from collections.abc import Sequence
from typing import Any

from search_spaces import Gated, Space, path_counts, path_of
from search_spaces.conditions import extremes
from search_spaces.low_rank import LargestNorm, RandomBlocks
from search_spaces.several_methods import NAME
from sweeper.errors import UserError
from trainables.backbones import Backbone
from trainables.engine.counts import level_ends
from trainables.errors import at
from trainables.methods import candidate_blocks, check_settings

_OF_ALL_BLOCKS = ("lora", "oplora", "keeplora")
_HEADS = ("training.objective", "training.head")


def check_fit(space: Space, backbone: Backbone) -> tuple[str, ...]:
    """Names of the candidate blocks of the searched method, or of each of several, which have the same.

    Raises:
        ProblemError: the method or a baseline asks for layers, blocks or towers that the model has not.
        UserError: the budget cannot be met by any trial.
    """
    for method in space.methods:
        with at("method"):
            check_settings(backbone, method)
    for run in space.baseline_runs:
        with at(f"baselines: {run.label}: method"):
            check_settings(backbone, space.for_baseline(run.label).method)
    blocks = candidate_blocks(backbone, space.method)
    check_budget(space, len(blocks))
    return blocks


def makes_prompts(space: Space) -> bool:
    """Whether any run makes prompts of the task's classes, if the model reads text."""
    chosen = extremes(space.search.parameters, _HEADS)
    runs = [space.with_values({path: end.value for path, end in each.items()}) for each in chosen]
    runs += [space.for_baseline(run.label) for run in space.baseline_runs]
    return any(_makes_prompts(run) for run in runs)


def _makes_prompts(space: Space) -> bool:
    training = space.training
    return space.method.name == "zero_shot" or training.objective == "flyp" or training.head != "fresh"


def check_budget(space: Space, blocks: int) -> int:
    """Active blocks asked for, of ``blocks``.

    Raises:
        UserError: the budget cannot be met by any trial.
    """
    try:
        asked = space.budget.count(blocks)
    except ValueError as error:
        raise UserError(str(error)) from None
    _check_gates(space, asked, blocks)
    _check_methods(space, asked, blocks)
    if space.budget.mode == "path":
        _check_path(path_counts(space, asked, blocks), asked, blocks)
    return asked


def check_steps(space: Space, blocks: int, pictures: int) -> None:
    """Whether a path has time for its counts, at the fewest epochs and the largest batch that are searched.

    Args:
        space: whose budget can be met.
        blocks: how many candidates the model has.
        pictures: how many there are to train on.

    Raises:
        UserError: it has more counts than steps.
    """
    if space.budget.mode != "path":
        return
    epochs, batch = (_ends(space, name) for name in ("epochs", "batch_size"))
    steps = min(epochs) * (pictures // min(max(batch), pictures))
    counts = path_counts(space, space.budget.count(blocks), blocks)
    try:
        level_ends(steps, len(counts), path_of(space).dense)
    except ValueError as error:
        raise UserError(f"method.path: {error}; raise training.epochs, or name fewer counts") from None


def _ends(space: Space, name: str) -> list[Any]:
    """The ends of what a setting of the training is in any trial."""
    path, own = f"training.{name}", getattr(space.training, name)
    return [each[path].value if path in each else own for each in extremes(space.search.parameters, [path])]


def _check_path(counts: Sequence[int], asked: int, blocks: int) -> None:
    if counts[0] > blocks:
        raise UserError(f"method.path.counts: {counts[0]} blocks are asked for, the model has {blocks}")
    if asked not in counts:
        there = ", ".join(map(str, counts))
        raise UserError(
            f"method.path.counts: they are {there}, without the budget of {asked} of {blocks} blocks; "
            "add it, or leave counts out"
        )


def _check_methods(space: Space, asked: int, blocks: int) -> None:
    """Methods that open a number of blocks whatever the price are inside the budget."""
    searched = space.search.parameters
    for method in space.methods:
        if isinstance(method, LargestNorm | RandomBlocks) and "method.active_blocks" not in searched:
            place, count, remedy = "method.active_blocks", method.active_blocks, "change one of the two"
        elif method.name in _OF_ALL_BLOCKS and NAME in searched:
            place, count = f"search.parameters.{NAME}", blocks
            remedy = f"raise it, or run {method.name} under baselines"
        else:
            continue
        if space.budget.excess(count, asked) > 0:
            raise UserError(
                f"{place}: {method.name} opens {count} blocks, and {_budget(space, asked, blocks)}, so none "
                f"of its trials would meet it; {remedy}"
            )


def _budget(space: Space, asked: int, blocks: int) -> str:
    return f"the budget is {space.budget.rule.replace('_', ' ')} {asked} of {blocks}"


def _check_gates(space: Space, asked: int, blocks: int) -> None:
    """What the method itself says about its open blocks goes with a budget of ``asked`` of ``blocks``."""
    method, budget = space.method, space.budget
    if not isinstance(method, Gated) or "method.active_blocks" in space.search.parameters:
        return
    key, left_open = ("mask", len(method.mask)) if method.mask else ("active_blocks", method.active_blocks)
    if left_open is None:
        return
    if budget.mode == "controlled" and left_open != asked:
        raise UserError(
            f"method.active_blocks: {left_open} is not the budget, which is {asked} of {blocks} blocks; "
            f"leave it out, mode controlled sets it"
        )
    if budget.excess(left_open, asked) > 0:
        raise UserError(
            f"method.{key}: leaves {left_open} blocks open, and {_budget(space, asked, blocks)}, so no "
            f"trial would meet it; change one of the two"
        )
    if "method.lambda" in space.search.parameters:
        raise UserError(
            f"search.parameters.method.lambda: has no effect, since method.{key} settles which blocks are "
            f"open; remove one of the two"
        )
