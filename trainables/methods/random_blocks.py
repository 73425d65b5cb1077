"""A control of the selection: LoRA on so many blocks, chosen at random."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from trainables.methods.lora import Lora
from trainables.sections import CountedSettings


class RandomBlocks(Lora):
    """LoRA on ``active_blocks`` blocks that are drawn from the trial's seed, and stay."""

    members: Sequence[CountedSettings]

    def choose(self, generators: Sequence[Generator]) -> Tensor:
        """(K, N), 1 at random places."""
        chosen = torch.zeros(self.size, len(self.blocks))
        for row, settings, generator in zip(chosen, self.members, generators, strict=True):
            order = torch.randperm(len(self.blocks), generator=generator)
            row[order[: settings.active_blocks]] = 1.0
        return chosen

    def decided(self) -> dict[str, Tensor]:
        """Which blocks are active."""
        return {"chosen": self.chosen}
