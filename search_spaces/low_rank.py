"""Methods that adapt by low-rank blocks without gates."""

from typing import ClassVar, Literal, get_args

from pydantic import Field

from search_spaces.blocks import ActiveBlocks, Alpha, Blocks, Kind, Rank, Towers
from search_spaces.part import Part


class LowRank(Part):
    """What the methods of plain LoRA share."""

    packable: ClassVar[bool] = True

    name: str = Field(description="the method")
    rank: Rank = 8
    alpha: Alpha = None
    blocks: Blocks = get_args(Kind)
    towers: Towers = ("image",)


class Lora(LowRank):
    """LoRA on every candidate block."""

    name: Literal["lora"] = Field(description="the method")


class RandomBlocks(LowRank):
    """LoRA on blocks chosen at random: a control of the selection."""

    name: Literal["random_blocks"] = Field(description="the method")
    active_blocks: ActiveBlocks = 2


class LargestNorm(LowRank):
    """LoRA on the blocks whose updates grow largest in plain LoRA: a control of the selection."""

    name: Literal["largest_norm"] = Field(description="the method")
    active_blocks: ActiveBlocks = 2


class Oplora(LowRank):
    """LoRA outside the leading singular directions of the frozen weights."""

    name: Literal["oplora"] = Field(description="the method")
    energy: float = Field(
        default=0.85,
        ge=0,
        lt=1,
        description="share of a frozen weight's squared singular values that no update touches",
    )


class Keeplora(LowRank):
    """LoRA whose A lies outside the leading singular directions of the frozen weights, and stays."""

    name: Literal["keeplora"] = Field(description="the method")
    rank: Rank = 16
    energy: float = Field(
        default=0.85,
        ge=0,
        lt=1,
        description="share of a frozen weight's squared singular values that A does not see",
    )


class Adalora(LowRank):
    """LoRA with a budget of ranks over all blocks, of which the most important stay."""

    name: Literal["adalora"] = Field(description="the method")
    rank: Rank = 12
    rank_fraction: float = Field(
        default=0.67, gt=0, le=1, description="fraction of all blocks' ranks that is left at the end"
    )
    ramp: float = Field(
        default=0.5, gt=0, le=1, description="share of the schedule after which rank_fraction is reached"
    )
    orthogonality: float = Field(
        default=0.1, ge=0, description="the price of factors that are not orthogonal"
    )


class Codyra(LowRank):
    """LoRA whose ranks pay a price each."""

    name: Literal["codyra"] = Field(description="the method")
    rank: Rank = 16
    kappa: float = Field(
        default=5e-3,
        ge=0,
        description="the price of a rank: by how much a step shrinks its scale, at the end",
    )
    dense: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="share of the steps before the price is asked, and grows to kappa",
    )
