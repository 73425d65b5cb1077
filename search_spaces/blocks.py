"""Which linear layers are adapted, and by how much."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from search_spaces.part import UniqueItems, mistaken

Kind = Literal["qkv", "proj", "fc1", "fc2"]
QkvPart = Literal["q", "k", "v"]
Block = Literal[Kind, QkvPart]

Rank = Annotated[int, Field(ge=1, le=1024, description="rank of every block's update")]
Alpha = Annotated[
    float | None,
    Field(gt=0, description="the update is scaled by alpha / rank; null makes alpha equal to the rank"),
]


def _apart(blocks: tuple[str, ...]) -> tuple[str, ...]:
    """The whole of a layer and a part of it cannot both be blocks."""
    if "qkv" in blocks and (parts := [part for part in get_args(QkvPart) if part in blocks]):
        raise mistaken(f"qkv holds {', '.join(parts)} already; name either the whole or its parts")
    return blocks


Blocks = Annotated[
    tuple[Block, ...],
    Field(
        strict=False,
        min_length=1,
        description="the kinds of linear layer that may be adapted; q, k and v are the thirds of qkv",
    ),
    UniqueItems,
    AfterValidator(_apart),
]
Towers = Annotated[
    tuple[Literal["image", "text"], ...],
    Field(strict=False, min_length=1, description="the towers that are adapted; text needs objective flyp"),
    UniqueItems,
]
Mask = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1), UniqueItems
]
ActiveBlocks = Annotated[int, Field(ge=1, description="how many blocks are adapted")]


Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]
