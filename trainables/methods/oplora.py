"""OPLoRA: low-rank updates outside the leading singular directions of the frozen weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from trainables.methods.blocks import Gate, LowRankBlock
from trainables.methods.lora import Lora
from trainables.sections import Oplora as Settings


class Leading(NamedTuple):
    """The leading singular directions of W.

    Attributes:
        left: U_k, (out, k).
        right: V_k, (in, k).
    """

    left: Tensor
    right: Tensor


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


_KNOWN = WeakTensorKeyDictionary()
"""A decomposition takes a second, and all trials of a process have the same frozen weights."""


@torch.no_grad()
def leading(weight: Tensor, outputs: slice, energy: float) -> Leading:
    """The directions that hold so much of the squared singular values of some rows of a weight (out, in)."""
    known: dict[Any, Leading] = _KNOWN.setdefault(weight, {})
    key = outputs.start, outputs.stop, energy
    if key not in known:
        left, values, right = torch.linalg.svd(weight[outputs].float(), full_matrices=False)
        held = values.square().cumsum(0) / values.square().sum()
        k = int((held < energy).sum()) + 1 if energy > 0 else 0
        known[key] = Leading(left[:, :k].clone(), right[:k].mT.clone())
    return known[key]


class Oplora(Lora):
    """LoRA on every candidate block, outside the directions that hold ``energy`` of the frozen weight."""

    block = OutsideBlock
