"""A control of the selection: LoRA on the blocks whose updates grow largest in plain LoRA."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from trainables.methods.blocks import LowRankBlock
from trainables.methods.lora import Lora
from trainables.sections import CountedSettings


class LargestNorm(Lora):
    """Plain LoRA for the whole schedule, then the ``active_blocks`` largest updates anew for all of it.

    The size of an update is the Frobenius norm of (alpha / r) B A. The second run starts from the
    pre-trained model, so the blocks are trained as long as those of the other controls.
    """

    members: Sequence[CountedSettings]

    phases = 2

    @torch.no_grad()
    def begin_phase(self, generators: Sequence[Generator]) -> None:
        """Keeps the blocks with the largest updates, and draws them anew."""
        norms = torch.stack([block.matrices().flatten(1).norm(dim=1) for block in self.placed], dim=1)
        self.chosen.zero_()
        for row, size, settings in zip(self.chosen, norms, self.members, strict=True):
            row[size.topk(min(settings.active_blocks, len(size))).indices] = 1.0
        self.keep(self.chosen)
        for block in self.placed:
            assert isinstance(block, LowRankBlock)
            block.reset(generators)

    def decided(self) -> dict[str, Tensor]:
        """Which blocks are active."""
        return {"chosen": self.chosen}
