"""Which finished models a trial leaves beside those that it trains."""

from typing import Annotated

from pydantic import Field

from search_spaces.part import Part, UniqueItems

Share = Annotated[float, Field(ge=0, lt=1)]
Shares = Annotated[tuple[Share, ...], Field(strict=False), UniqueItems]


class Points(Part):
    """A trained update can be scaled without training: each share is one more model, measured on its own."""

    scale: Shares = Field(
        default=(), description="shares of the whole update, 0 to below 1 (WiSE-FT); the head moves along"
    )
    lines: Shares = Field(
        default=(),
        description="shares of the first layer's update, 0 to below 1, that grow to 1 at the last (LiNeS)",
    )
    most_blocks: int | None = Field(
        default=None,
        ge=1,
        description="models with more active blocks are not scaled; null: those outside the budget are not",
    )
