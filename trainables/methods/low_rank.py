"""The low-rank block that LoRA and selective LoRA share."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.methods.method import Settings


class LowRankBlock(nn.Module):
    """A frozen linear layer with a gated low-rank update for each of K pack members.

    y = W x + b + I(s) * (alpha / r) * B A x        (arXiv 2106.09685; gate: arXiv 2501.15377)

    Members have ranks of their own: A and B are padded to the largest, and the padding is masked.

    Args:
        linear: the frozen layer, in -> out.
        ranks: r of each member.
        alphas: alpha of each member.
        gates: gives I(s), (K,), at every call.
        generators: a source of random numbers for each member.

    Attributes:
        down: A, (K, r, in), uniform in +-1 / sqrt(in), as peft initialises it.
        up: B, (K, out, r), zero, so that the block starts as the frozen layer.
        scale: (K, r), alpha / r on the ranks that a member has and 0 on its padding.
    """

    scale: Tensor

    def __init__(
        self,
        linear: nn.Linear,
        ranks: Sequence[int],
        alphas: Sequence[float],
        gates: Callable[[], Tensor],
        generators: Sequence[Generator],
    ) -> None:
        super().__init__()
        size, widest = len(ranks), max(ranks)
        self.linear = linear
        self.gates = gates
        down = torch.zeros(size, widest, linear.in_features)
        scale = torch.zeros(size, widest)
        bound = 1 / math.sqrt(linear.in_features)
        for k, (rank, alpha, generator) in enumerate(zip(ranks, alphas, generators, strict=True)):
            down[k, :rank].uniform_(-bound, bound, generator=generator)
            scale[k, :rank] = alpha / rank
        device = linear.weight.device
        self.down = nn.Parameter(down.to(device))
        self.up = nn.Parameter(torch.zeros(size, linear.out_features, widest, device=device))
        self.register_buffer("scale", scale.to(device))

    def forward(self, x: Tensor) -> Tensor:
        """(K * N, ..., in) -> (K * N, ..., out)."""
        members = x.reshape(len(self.scale), -1, x.shape[-1])
        low = members @ self.down.mT * (self.gates()[:, None] * self.scale)[:, None, :]
        update = low @ self.up.mT
        frozen: Tensor = self.linear(x)
        return frozen + update.view_as(frozen)


def insert_blocks(
    backbone: Backbone,
    blocks: Sequence[str],
    members: Sequence[Settings],
    gates: Callable[[int], Callable[[], Tensor]],
    generators: Sequence[Generator],
) -> Backbone:
    """A fork of the backbone with a low-rank block in the place of each named linear layer.

    ``gates`` gives the gate of a block by its place in ``blocks``.
    """
    fork = backbone.fork()
    ranks = [settings["rank"] for settings in members]
    alphas = [float(settings["alpha"] or settings["rank"]) for settings in members]
    for place, name in enumerate(blocks):
        path = fork.linears[name]
        linear = fork.get_submodule(path)
        assert isinstance(linear, nn.Linear)
        fork.set_submodule(path, LowRankBlock(linear, ranks, alphas, gates(place), generators))
    return fork
