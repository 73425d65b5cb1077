"""Selective LoRA: a price on every block's score decides which blocks adapt."""

from collections.abc import Sequence

from torch import Generator, Tensor

from trainables.backbones import Backbone
from trainables.gates import Gates
from trainables.methods.low_rank import insert_blocks
from trainables.methods.method import Method, Settings
from trainables.optimizer import PackedSGD


class SelectiveLora(Method):
    """Low-rank blocks with learnable gates (arXiv 2501.15377).

    loss = task_loss + lambda * mean_i |s_i|. Scores descend by plain SGD: under Adam the constant gradient
    of the penalty would be normalised away, and lambda with it.
    """

    packable = True

    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """The backbone with a gated low-rank block in the place of every candidate."""
        self.gates = Gates(
            len(self.blocks),
            initial=[settings["initial_score"] for settings in members],
            threshold=[settings["threshold"] for settings in members],
            price=[settings["lambda"] for settings in members],
            penalty=members[0]["penalty"],
        ).to(next(backbone.parameters()).device)
        self._score_lr = [settings["score_lr"] for settings in members]
        return insert_blocks(
            backbone, self.blocks, members, lambda place: lambda: self.gates()[:, place], generators
        )

    def penalty(self) -> Tensor:
        """(K,): the price of the scores."""
        return self.gates.penalty()

    def score_optimizers(self) -> list[PackedSGD]:
        """Plain SGD on the scores."""
        return [PackedSGD([self.gates.scores], self._score_lr)]

    def active_blocks(self) -> list[tuple[str, ...]]:
        """Names of each member's blocks whose gate is open."""
        opened = self.gates().bool().tolist()
        return [
            tuple(name for name, is_open in zip(self.blocks, row, strict=True) if is_open) for row in opened
        ]
