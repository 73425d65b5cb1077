"""KeepLoRA: low-rank updates of what the leading singular directions of the frozen weights do not see."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from trainables.methods.blocks import Gate, LowRankBlock, Members
from trainables.methods.leading import leading
from trainables.methods.lora import Lora
from trainables.sections import Keeplora as Settings


class ResidualBlock(LowRankBlock):
    """y = W x + b + (alpha / r) B A x, with A V_k = 0 and W = U S V^T

    Only B is trained.

    Attributes:
        down: A, (K, r, in), its rows outside the leading right singular directions V_k.
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
        self._right = [leading(self.weight, outputs, settings.energy).right for settings in members]
        self._whole: Tensor | None = None
        self.down.requires_grad_(False)
        self._put(self.down.clone())

    def _put(self, rows: Tensor) -> None:
        """Gives A the rows (K, r, in), without what leads."""
        for k, right in enumerate(self._right):
            self.down[k] = rows[k] - rows[k] @ right @ right.mT

    def watch(self) -> None:
        """Has an update of full rank, zero, until `turn`."""
        shape = (self.size, self.changed_features, self.in_features)
        self._whole = torch.zeros(shape, device=self.weight.device, requires_grad=True)

    @torch.no_grad()
    def turn(self) -> None:
        """Turns A to the right singular directions of the gradient that was watched, outside of V_k."""
        assert self._whole is not None and self._whole.grad is not None
        # A member whose loss is no number fails by itself, not with its pack.
        gradient, self._whole = torch.nan_to_num(self._whole.grad, posinf=0, neginf=0), None
        rows = torch.zeros_like(self.down)
        for k, (rank, right) in enumerate(zip(self.ranks, self._right, strict=True)):
            directions = torch.linalg.svd(
                gradient[k] - gradient[k] @ right @ right.mT, full_matrices=False
            ).Vh
            rows[k, : min(rank, len(directions))] = directions[:rank]
        self._put(rows)

    def _scaled(self, members: Members, precision: torch.dtype) -> tuple[Tensor, Tensor]:
        """As `LowRankBlock`; while a gradient is watched, the identity and the update of full rank."""
        if self._whole is None:
            return super()._scaled(members, precision)
        whole = self._whole[members].to(precision)
        identity = torch.eye(self.in_features, dtype=precision, device=whole.device)
        return identity.expand(len(whole), -1, -1), whole

    def trained_parameters(self) -> list[int]:
        """r * changed."""
        return [rank * self.changed_features for rank in self.ranks]


class Keeplora(Lora):
    """LoRA that reads nothing of what leads in the frozen weights.

    A has the r leading right singular directions of the gradient of W over an epoch, without what lies in the
    directions that hold ``energy`` of W; it stays, and B is trained. Source: KeepLoRA (arXiv 2601.19659) for
    a first task; the public code MaolinLuo/KeepLoRA, ``MTIL/trainer/trainer.py``.
    """

    block = ResidualBlock
    previews = True
    placed: Sequence[ResidualBlock]

    @contextmanager
    def preview(self) -> Iterator[None]:
        """Watches the gradients, and turns every A to them."""
        for block in self.placed:
            block.watch()
        yield
        for block in self.placed:
            block.turn()

    def decided(self) -> dict[str, Tensor]:
        """Every A."""
        return {f"down/{n}": block.down for n, block in enumerate(self.placed)}
