"""How the model is adapted: one class a method, told apart by name."""

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import Field

from search_spaces.blocks import Towers
from search_spaces.gated import SelectiveLora, Taps
from search_spaces.low_rank import Adalora, Codyra, Keeplora, LargestNorm, Lora, Oplora, RandomBlocks
from search_spaces.part import Part


class BlockExpansion(Part):
    """New transformer layers between the frozen ones."""

    packable: ClassVar[bool] = False

    name: Literal["block_expansion"] = Field(description="the method")
    layers: int = Field(default=1, ge=1, description="how many layers are added, spread evenly")


class TopK(Part):
    """Fine-tuning of the last transformer layers."""

    packable: ClassVar[bool] = False

    name: Literal["top_k"] = Field(description="the method")
    layers: int = Field(default=3, ge=1, description="how many layers are trained, counted from the last")


class Full(Part):
    """Full fine-tuning."""

    packable: ClassVar[bool] = False

    name: Literal["full"] = Field(description="the method")
    towers: Towers = ("image",)


class LpFt(Part):
    """A linear probe, then full fine-tuning from it."""

    packable: ClassVar[bool] = False

    name: Literal["lp_ft"] = Field(description="the method")


class Linear(Part):
    """A linear head on the frozen features."""

    packable: ClassVar[bool] = True

    name: Literal["linear"] = Field(description="the method")


class ZeroShot(Part):
    """The untouched model."""

    packable: ClassVar[bool] = True

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

METHODS: dict[str, type[Method]] = {
    name: method for method in get_args(Method) for name in get_args(method.model_fields["name"].annotation)
}

if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal[*METHODS]
