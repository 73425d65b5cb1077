"""Block expansion: new transformer layers between the frozen ones, which start as the identity."""

import copy
from collections.abc import Sequence

import torch
from torch import Generator, nn

from trainables.backbones import Backbone
from trainables.methods.method import Method
from trainables.sections import LayersSettings


class BlockExpansion(Method):
    """Trains ``layers`` = p new layers: a copy after every (L / p)-th of the L layers of the image tower.

    In a copy the attention's output projection and fc2 start at zero, weights and biases, so it starts as
    the identity. Source: Bafghi et al., arXiv 2404.17245, section 3; the public code rezaakb/peft-vit.
    """

    members: Sequence[LayersSettings]

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """A fork of the backbone with the new layers in it."""
        fork = backbone.fork()
        path = fork.layers["image"]
        frozen = list(fork.get_submodule(path).children())
        after = expanded_after(len(frozen), self.members[0].layers)
        zeroed = [self._within_layer(fork, kind) for kind in ("proj", "fc2")]
        # The model's own last layer is run in any case: what it gives is no features yet.
        self._frozen = min(after[0] + 1, len(frozen) - 1)
        grown = [
            module
            for place, layer in enumerate(frozen)
            for module in ((layer, _identity(layer, zeroed)) if place in after else (layer,))
        ]
        sequential = isinstance(fork.get_submodule(path), nn.Sequential)
        fork.set_submodule(path, nn.Sequential(*grown) if sequential else nn.ModuleList(grown))
        return fork

    def frozen_layers(self) -> list[int]:
        """Those before the first copy."""
        return [self._frozen]

    def active_blocks(self) -> list[tuple[str, ...]]:
        """None: the pre-trained layers are as they were."""
        return [()]

    @staticmethod
    def _within_layer(backbone: Backbone, kind: str) -> str:
        """Path of a kind of linear layer below its transformer layer."""
        return backbone.linears[f"image.0.{kind}"].removeprefix(f"{backbone.layers['image']}.0.")


def expanded_after(depth: int, layers: int) -> list[int]:
    """Places, counted from 0, of the layers that a copy follows: every (depth / layers)-th.

    Where ``layers`` does not divide ``depth``, the places are rounded down.
    """
    return [(place + 1) * depth // layers - 1 for place in range(layers)]


@torch.no_grad()
def _identity(layer: nn.Module, zeroed: Sequence[str]) -> nn.Module:
    """A trained copy of a layer whose two residual branches give zero."""
    new = copy.deepcopy(layer).requires_grad_(True)
    for path in zeroed:
        for parameter in new.get_submodule(path).parameters():
            parameter.zero_()
    return new
