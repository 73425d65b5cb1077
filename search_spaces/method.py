"""How the model is adapted: one class a method, told apart by name."""

from itertools import pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from search_spaces.errors import Mistake
from search_spaces.part import Part, UniqueItems, mistaken, refuse

MethodName = Literal[
    "selective_lora",
    "lora",
    "taps",
    "block_expansion",
    "full",
    "lp_ft",
    "top_k",
    "linear",
    "zero_shot",
    "random_blocks",
    "largest_norm",
    "oplora",
    "keeplora",
    "adalora",
    "codyra",
]
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


class Path(Part):
    """One training that goes through falling numbers of open blocks and leaves a finished model at each."""

    counts: Counts | None = Field(
        default=None,
        description="the numbers of open blocks, falling; null means all blocks, then half of them each time "
        "down to 1, with the budget among them",
    )
    dense: float = Field(
        default=0.25, gt=0, lt=1, description="share of the steps in which all blocks are open, at the start"
    )

    @model_validator(mode="after")
    def _falling(self) -> Self:
        counts = self.counts or ()
        for place, (before, after) in enumerate(pairwise(counts), start=1):
            if after >= before:
                text = f"{after} comes after {before}; each number must be smaller than the one before"
                refuse(Mistake(("counts", place), text))
        return self


class Gated(Part):
    """Every block has a score, and is active while that is not below the threshold.

    loss = task_loss + lambda * mean_i |s_i|, or the sum.
    """

    name: str = Field(description="the method")
    lambda_: float = Field(default=0.3, ge=0, alias="lambda", description="the price of the scores")
    blocks: Blocks = get_args(Kind)
    towers: Towers = ("image",)
    threshold: float = Field(default=0.1, description="a block is active while its score is not below this")
    initial_score: float = Field(
        default=0.15, description="every block's score at the start; not below the threshold"
    )
    penalty: Literal["mean", "sum"] = Field(
        default="mean",
        description="whether lambda multiplies the mean or the sum of the scores' absolute values",
    )
    score_lr: float = Field(default=0.1, gt=0, description="learning rate of the scores")
    free_epochs: int = Field(default=0, ge=0, description="epochs before the price is asked")
    active_blocks: int | None = Field(
        default=None, ge=1, description="exactly so many blocks are left open, by a count that falls"
    )
    ramp: float = Field(
        default=0.5, gt=0, le=1, description="share of the schedule after which active_blocks is reached"
    )
    path: Path | None = Field(
        default=None, description="goes through falling numbers of open blocks; with budget.mode: path"
    )
    mask: Mask | None = Field(
        default=None,
        description="names of the blocks that are open from start to end, without score and price",
    )

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        mistakes = []
        if self.initial_score < self.threshold:
            mistakes.append(Mistake(("initial_score",), closed_start(self.initial_score, self.threshold)))
        if self.mask is not None and self.active_blocks is not None:
            text = "names the open blocks, and active_blocks counts them; remove one of the two"
            mistakes.append(Mistake(("mask",), text))
        if mistakes:
            refuse(*mistakes)
        return self


class SelectiveLora(Gated):
    """LoRA whose blocks have gates."""

    name: Literal["selective_lora"] = Field(description="the method")
    rank: Rank = 4
    alpha: Alpha = None


class Taps(Gated):
    """A residual of a layer's own shape whose blocks have gates."""

    name: Literal["taps"] = Field(description="the method")


class LowRank(Part):
    """What the methods of plain LoRA share."""

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


class BlockExpansion(Part):
    """New transformer layers between the frozen ones."""

    name: Literal["block_expansion"] = Field(description="the method")
    layers: int = Field(default=1, ge=1, description="how many layers are added, spread evenly")


class TopK(Part):
    """Fine-tuning of the last transformer layers."""

    name: Literal["top_k"] = Field(description="the method")
    layers: int = Field(default=3, ge=1, description="how many layers are trained, counted from the last")


class Full(Part):
    """Full fine-tuning."""

    name: Literal["full"] = Field(description="the method")
    towers: Towers = ("image",)


class LpFt(Part):
    """A linear probe, then full fine-tuning from it."""

    name: Literal["lp_ft"] = Field(description="the method")


class Linear(Part):
    """A linear head on the frozen features."""

    name: Literal["linear"] = Field(description="the method")


class ZeroShot(Part):
    """The untouched model."""

    name: Literal["zero_shot"] = Field(description="the method")


Method = (
    SelectiveLora
    | Lora
    | Taps
    | BlockExpansion
    | Full
    | LpFt
    | TopK
    | Linear
    | ZeroShot
    | RandomBlocks
    | LargestNorm
    | Oplora
    | Keeplora
    | Adalora
    | Codyra
)

METHODS: dict[str, type[Method]] = dict(
    zip(
        get_args(MethodName),
        (
            SelectiveLora,
            Lora,
            Taps,
            BlockExpansion,
            Full,
            LpFt,
            TopK,
            Linear,
            ZeroShot,
            RandomBlocks,
            LargestNorm,
            Oplora,
            Keeplora,
            Adalora,
            Codyra,
        ),
        strict=True,
    )
)


PACKABLE_METHODS = (
    "selective_lora",
    "lora",
    "taps",
    "linear",
    "zero_shot",
    "random_blocks",
    "largest_norm",
    "oplora",
    "keeplora",
    "adalora",
    "codyra",
)
"""The methods whose trials can share one frozen model."""


def closed_start(initial_score: float, threshold: float) -> str:
    """What is wrong with scores that start below the threshold."""
    return f"{initial_score} is below the threshold {threshold}, so every block would start closed"
