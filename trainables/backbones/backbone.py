"""A frozen pre-trained model, seen as an image encoder with named linear layers."""

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

KINDS = ("qkv", "proj", "fc1", "fc2")


class Backbone(nn.Module):
    """A pre-trained image encoder whose linear layers can be adapted.

    Attributes:
        image_size: side of the square input, in pixels.
        feature_size: D, length of a feature vector.
        logit_scale: factor on the cosine between a feature and a class embedding.
        linears: module path of every linear layer that can become a block, by block name
            (``image.3.qkv``: tower, transformer layer, kind), in the order of the forward pass.
    """

    image_size: int
    feature_size: int
    logit_scale: float
    linears: dict[str, str]
    mean: Tensor
    std: Tensor

    @property
    @abstractmethod
    def image_tower(self) -> nn.Module:
        """The part of the model that images pass through."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, 3, H, W)."""

    @abstractmethod
    def class_embeddings(self, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Unit vectors (C, D), one a class, from sentences about it."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, D) of uint8 pixels (N, 3, H, W)."""
        return self.encode((pixels.float() / 255 - self.mean) / self.std)

    def fork(self) -> Self:
        """A copy with its own modules over the same frozen tensors: layers can be replaced in it."""
        shared = [*self.parameters(), *self.buffers()]
        return copy.deepcopy(self, {id(tensor): tensor for tensor in shared})

    def block_names(self, kinds: Sequence[str], towers: Sequence[str]) -> tuple[str, ...]:
        """Names of the blocks of these kinds in these towers, in the order of the forward pass."""
        return tuple(
            name
            for name in self.linears
            if name.split(".")[0] in towers and name.rsplit(".", maxsplit=1)[-1] in kinds
        )

    def freeze(self) -> Self:
        """Turns every parameter's gradient off and sets the evaluation mode."""
        return self.requires_grad_(False).eval()

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keeps the channel mean and deviation, in units of the pixel range 0..1."""
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
