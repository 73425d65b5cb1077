"""OPLoRA: low-rank updates outside the leading singular directions of the frozen weights."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from trainables.methods.blocks import Gate, LowRankBlock
from trainables.methods.leading import Leading, leading
from trainables.methods.lora import Lora
from trainables.sections import Oplora as Settings


class OutsideBlock(LowRankBlock):
    """y = W x + b + (alpha / r) (I - U_k U_k^T) B A (I - V_k V_k^T) x, with W = U S V^T

    The k leading singular values and vectors of the adapted weight are those of W. Source: OPLoRA
    (arXiv 2510.13003), which fixes k; here k is the smallest number whose squared singular values sum up to
    ``energy`` of all.
    """

    def __init__(
        self,
        linear: nn.Module,
        outputs: slice,
        gate: Gate,
        members: Sequence[Settings],
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(linear, outputs, gate, members, generators)
        weight = self.weight
        each = [leading(weight, outputs, settings.energy) for settings in members]
        self.leading = each[:1] if len({settings.energy for settings in members}) == 1 else each

    def factors(self) -> tuple[Tensor, Tensor]:
        """A (I - V_k V_k^T) and (I - U_k U_k^T) B."""
        left, right = (_together([getattr(own, side) for own in self.leading]) for side in Leading._fields)
        down = self.down - (self.down @ right) @ right.mT
        return down, self.up - left @ (left.mT @ self.up)


def _together(directions: Sequence[Tensor]) -> Tensor:
    """(K, n, k), with zeros where a member has fewer; (n, k) where all members have the same."""
    if len(directions) == 1:
        return directions[0]
    most = max(own.shape[1] for own in directions)
    return torch.stack([nn.functional.pad(own, (0, most - own.shape[1])) for own in directions])


class Oplora(Lora):
    """LoRA on every candidate block, outside the directions that hold ``energy`` of the frozen weight."""

    block = OutsideBlock
