"""How many blocks may be active."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from search_spaces.errors import Mistake
from search_spaces.part import Part, mistaken, refuse

BudgetMode = Literal["search", "controlled", "mask", "path"]


class Budget(Part):
    """The active blocks asked for: a number, or a fraction of the candidate blocks; one of the two."""

    active_blocks: int | None = Field(default=None, ge=1, description="a number of blocks")
    active_fraction: float | None = Field(
        default=None, gt=0, le=1, description="a fraction of the candidate blocks, above 0 and up to 1"
    )
    rule: Literal["at_most", "exactly"] = Field(
        default="at_most", description="whether fewer active blocks are inside the budget too"
    )
    tolerance: int = Field(
        default=0, ge=0, description="blocks more or fewer that are inside the budget too; with rule exactly"
    )
    mode: BudgetMode = Field(
        default="search",
        description="how the budget is met: search looks for a price that leaves so many blocks active, "
        "controlled closes blocks until so many are left, mask searches which blocks are open, path goes "
        "from all blocks to few in one training, and leaves a model at each number",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.active_blocks is None) == (self.active_fraction is None):
            raise mistaken(
                "give exactly one of active_blocks and active_fraction, such as budget={active_blocks: 2}"
            )
        if self.tolerance and (text := self._no_tolerance()):
            refuse(Mistake(("tolerance",), text))
        return self

    def _no_tolerance(self) -> str | None:
        """Why the budget takes no such tolerance, as far as that shows without the model."""
        if self.rule != "exactly":
            return f"goes with rule: exactly, got rule: {self.rule}; leave it out, or write rule: exactly"
        if self.mode != "search":
            return f"mode {self.mode} meets the budget to the block; leave it out, or use mode: search"
        if self.active_blocks is not None and self.tolerance >= self.active_blocks:
            return self._would_hold_none(self.active_blocks)
        return None

    def _would_hold_none(self, blocks: int) -> str:
        return (
            f"{self.tolerance} fewer than {blocks} would let zero active blocks be inside the budget; "
            f"use at most {blocks - 1}"
        )

    def excess(self, active: int, blocks: int) -> int:
        """By how many blocks so many active ones miss a budget of ``blocks``; inside it, 0 or less."""
        over = active - blocks
        return abs(over) - self.tolerance if self.rule == "exactly" else over

    def count(self, total_blocks: int) -> int:
        """The budget in blocks, for a model that has total_blocks; a fraction is rounded, halves up.

        Raises:
            ValueError: the count is above the total, the fraction rounds to none, or the tolerance reaches
                zero blocks or more than there are.
        """
        blocks = self._blocks(total_blocks)
        if self.tolerance >= blocks:
            raise ValueError(f"budget.tolerance: {self._would_hold_none(blocks)}")
        if blocks + self.tolerance > total_blocks:
            raise ValueError(
                f"budget.tolerance: {self.tolerance} more than {blocks} blocks is "
                f"{blocks + self.tolerance}, the model has {total_blocks}; "
                f"use at most {total_blocks - blocks}"
            )
        return blocks

    def _blocks(self, total_blocks: int) -> int:
        if self.active_blocks is not None:
            if self.active_blocks > total_blocks:
                raise ValueError(
                    f"budget.active_blocks: {self.active_blocks} blocks are asked for, "
                    f"the model has {total_blocks}"
                )
            return self.active_blocks
        assert self.active_fraction is not None
        blocks = self.active_fraction * total_blocks
        if blocks < 0.5:
            raise ValueError(
                f"budget.active_fraction: {self.active_fraction} of {total_blocks} blocks is {blocks:.3g}, "
                f"which rounds to none; use active_blocks: 1 or a larger fraction"
            )
        return math.floor(blocks + 0.5)
