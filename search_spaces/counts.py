"""What a budget in blocks makes of a method that counts its open blocks."""

from search_spaces.gated import Gated, Path
from search_spaces.space import Space, parse_space


def with_counts(space: Space, budget: int, blocks: int) -> Space:
    """The space with the number of open blocks that its mode has each trial end with, or go through.

    Scaled models are limited to the budget.

    Args:
        budget: in blocks.
        blocks: how many candidates the model has.
    """
    method, points = space.method.dump(), space.points.dump()
    if space.budget.mode == "controlled":
        method["active_blocks"] = budget
    if space.budget.mode == "path":
        method["path"] = {**path_of(space).dump(), "counts": path_counts(space, budget, blocks)}
    if points["scale"] or points["lines"]:
        points["most_blocks"] = space.points.most_blocks or budget + space.budget.tolerance
    return parse_space({**space.dump(), "method": method, "points": points})


def path_counts(space: Space, budget: int, blocks: int) -> list[int]:
    """The levels of a path: all blocks, then those that are written.

    By default each has about half of the blocks of the one before, down to 1, and the budget is among them.
    """
    halves = {max(1, blocks >> shift) for shift in range(blocks.bit_length())}
    return sorted({blocks, *(path_of(space).counts or halves | {budget})}, reverse=True)


def path_of(space: Space) -> Path:
    """What is written of the path, or its defaults."""
    return (space.method.path if isinstance(space.method, Gated) else None) or Path()
