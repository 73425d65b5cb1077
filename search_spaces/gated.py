"""Methods whose blocks have gates: what a price, a count or a path leaves open."""

from itertools import pairwise
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from search_spaces.blocks import Alpha, Blocks, Counts, Kind, Mask, Rank, Towers
from search_spaces.errors import Mistake
from search_spaces.part import Part, refuse


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

    packable: ClassVar[bool] = True

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


def closed_start(initial_score: float, threshold: float) -> str:
    """What is wrong with scores that start below the threshold."""
    return f"{initial_score} is below the threshold {threshold}, so every block would start closed"
