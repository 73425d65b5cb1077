"""How many blocks may be active."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from search_spaces.part import Part, mistaken


class Budget(Part):
    """The active blocks asked for: a number, or a fraction of the candidate blocks; one of the two."""

    active_blocks: int | None = Field(default=None, ge=1, description="a number of blocks")
    active_fraction: float | None = Field(
        default=None, gt=0, le=1, description="a fraction of the candidate blocks, above 0 and up to 1"
    )
    rule: Literal["at_most", "exactly"] = Field(
        default="at_most", description="whether fewer active blocks are inside the budget too"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.active_blocks is None) == (self.active_fraction is None):
            raise mistaken(
                "give exactly one of active_blocks and active_fraction, such as budget={active_blocks: 2}"
            )
        return self

    def count(self, total_blocks: int) -> int:
        """The budget in blocks, for a model that has total_blocks; a fraction is rounded, halves up.

        Raises:
            ValueError: the count is above the total, or the fraction rounds to none.
        """
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
