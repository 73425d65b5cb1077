"""What the methods with learnable gates share: a score for every block, and its price."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.gates import Gates
from trainables.methods.blocks import Block, BlockMethod, Gate
from trainables.methods.method import Settings
from trainables.optimizer import PackedSGD


class GatedMethod(BlockMethod):
    """loss = task_loss + lambda * mean_i |s_i|, from the epoch ``free_epochs`` on.

    Scores descend by plain SGD: under Adam the constant gradient of the penalty would be normalised away,
    and lambda with it.
    """

    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """The backbone with a gated block in the place of every candidate."""
        self.gates = Gates(
            len(self.blocks),
            initial=[settings["initial_score"] for settings in members],
            threshold=[settings["threshold"] for settings in members],
            price=[settings["lambda"] for settings in members],
            penalty=members[0]["penalty"],
        ).to(next(backbone.parameters()).device)
        self._score_lr = [settings["score_lr"] for settings in members]
        self._free_epochs = torch.tensor([settings["free_epochs"] for settings in members])
        return self.insert(
            backbone,
            lambda linear, outputs, place: self.block(
                linear, outputs, lambda: self.gates()[:, place], generators
            ),
        )

    @abstractmethod
    def block(self, linear: nn.Module, outputs: slice, gate: Gate, generators: Sequence[Generator]) -> Block:
        """The gated block that stands in the place of a layer."""

    def penalty(self, epoch: int) -> Tensor:
        """(K,): the price of the scores, once it is asked."""
        asked = (self._free_epochs <= epoch).to(self.gates.scores)
        return asked * self.gates.penalty()

    def score_optimizers(self) -> list[PackedSGD]:
        """Plain SGD on the scores."""
        return [PackedSGD([self.gates.scores], self._score_lr)]

    def open(self) -> Tensor:
        """(K, N), 1 where a score reaches its threshold."""
        gates: Tensor = self.gates()
        return gates
