"""How the model is adapted: one class a method, told apart by name."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from search_spaces.errors import Mistake
from search_spaces.part import Part, UniqueItems, refuse

MethodName = Literal["selective_lora", "lora", "full", "linear", "zero_shot"]
Block = Literal["qkv", "proj", "fc1", "fc2"]

Rank = Annotated[int, Field(ge=1, le=1024, description="rank of every block's update")]
Alpha = Annotated[
    float | None,
    Field(gt=0, description="the update is scaled by alpha / rank; null makes alpha equal to the rank"),
]
Blocks = Annotated[
    tuple[Block, ...],
    Field(strict=False, min_length=1, description="the kinds of linear layer that may be adapted"),
    UniqueItems,
]
Towers = Annotated[
    tuple[Literal["image"], ...],
    Field(strict=False, min_length=1, description="the towers whose layers may be adapted"),
    UniqueItems,
]


class SelectiveLora(Part):
    """LoRA whose every block has a score, and is active while that is not below the threshold.

    loss = task_loss + lambda * mean_i |s_i|, or the sum.
    """

    name: Literal["selective_lora"] = Field(description="the method")
    lambda_: float = Field(default=0.3, ge=0, alias="lambda", description="the price of the scores")
    rank: Rank = 4
    alpha: Alpha = None
    blocks: Blocks = get_args(Block)
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

    @model_validator(mode="after")
    def _starts_open(self) -> Self:
        if self.initial_score < self.threshold:
            refuse(Mistake(("initial_score",), closed_start(self.initial_score, self.threshold)))
        return self


class Lora(Part):
    """LoRA on every candidate block."""

    name: Literal["lora"] = Field(description="the method")
    rank: Rank = 8
    alpha: Alpha = None
    blocks: Blocks = get_args(Block)
    towers: Towers = ("image",)


class Full(Part):
    """Full fine-tuning."""

    name: Literal["full"] = Field(description="the method")


class Linear(Part):
    """A linear head on the frozen features."""

    name: Literal["linear"] = Field(description="the method")


class ZeroShot(Part):
    """The untouched model."""

    name: Literal["zero_shot"] = Field(description="the method")


Method = SelectiveLora | Lora | Full | Linear | ZeroShot

METHODS: dict[str, type[Method]] = dict(
    zip(get_args(MethodName), (SelectiveLora, Lora, Full, Linear, ZeroShot), strict=True)
)


def closed_start(initial_score: float, threshold: float) -> str:
    """What is wrong with scores that start below the threshold."""
    return f"{initial_score} is below the threshold {threshold}, so every block would start closed"
