"""What the methods share that choose single ranks, and not whole blocks."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.methods.blocks import Gate, LowRankBlock
from trainables.methods.lora import Lora
from trainables.sections import LowRankSettings


class RankedBlock(LowRankBlock):
    """y = W x + b + (alpha / r) B diag(s) A x

    A rank whose s is 0 changes nothing.

    Attributes:
        values: s, (K, r); padding is zero.
    """

    def __init__(
        self,
        linear: nn.Module,
        outputs: slice,
        gate: Gate,
        members: Sequence[LowRankSettings],
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(linear, outputs, gate, members, generators)
        self.values = nn.Parameter(self.draw(generators))

    @abstractmethod
    def draw(self, generators: Sequence[Generator]) -> Tensor:
        """s at the start, (K, r)."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """diag(s) A, and B."""
        return self.values[:, :, None] * self.down, self.up


class RankedMethod(Lora):
    """Low-rank blocks of which single ranks are left out; a block is active while it has any.

    Ranks that are left out go on learning with the others, so they can come back.

    Attributes:
        linear_in: the name of the parameter of a block that is zero at the start, and scales its update.
    """

    block: ClassVar[type[RankedBlock]]
    linear_in: ClassVar[str]
    placed: Sequence[RankedBlock]

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """The backbone with a block in the place of every candidate."""
        fork = super().adapt(backbone, generators)
        self.values = [block.values for block in self.placed]
        self._sizes = torch.tensor([b.in_features + b.changed_features + 1 for b in self.placed])
        return fork

    @abstractmethod
    def kept(self) -> Tensor:
        """(K, N, r), whether a rank changes anything; none of the padding does."""

    def open(self) -> Tensor:
        """(K, N), 1 where a block has a rank left."""
        return self.kept().any(dim=2).float()

    def block_places(self) -> dict[int, int]:
        """None: no block stands still."""
        return {}

    def trained_parameters(self) -> list[int]:
        """r (in + changed + 1) of every block, with the ranks that it has left."""
        counted: list[int] = (self.kept().sum(dim=2).cpu() * self._sizes).sum(dim=1).tolist()
        return counted

    def gate_metrics(self) -> list[dict[str, float]]:
        """``active_ranks``: how many are left, over all blocks."""
        return [{"active_ranks": count} for count in self.kept().sum(dim=(1, 2)).tolist()]

    def updates(self) -> dict[str, nn.Parameter]:
        """The one parameter of every block that is zero at the start."""
        ends = f".{self.linear_in}"
        return {name: p for name, p in self.backbone.named_parameters() if name.endswith(ends)}
