"""A frozen pre-trained model, seen as an image encoder with named linear layers."""

import copy
import logging
import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from trainables.backbones.patches import use_patches
from trainables.backbones.stand_ins import Loop, Looping, standing_in
from trainables.backbones.texts import Texts
from trainables.data.preprocessing import Preprocessing
from trainables.errors import ProblemError

MISFITS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError)
"""What libraries raise where a model's parts do not go with each other, or with what they are given."""

KINDS = ("qkv", "proj", "fc1", "fc2")
"""The linear layers of a transformer layer, each a block, in the order of the forward pass."""

PARTS = ("q", "k", "v")
"""The thirds of the outputs of a qkv layer, each a block where it is asked for by its own name."""

_LONGEST_REASON = 160


class Backbone(nn.Module):
    """A pre-trained image encoder whose linear layers can be adapted.

    Attributes:
        preprocessing: how the model wants to see a picture.
        feature_size: D, length of a feature vector.
        logit_scale: factor on the cosine between a feature and a class embedding.
        layers: module path of the list of transformer layers, by tower.
        linears: module path of every linear layer that can become a block, by block name
            (``image.3.qkv``: tower, transformer layer, kind), in the order of the forward pass. The parts of
            a qkv layer have its path.
    """

    preprocessing: Preprocessing
    feature_size: int
    logit_scale: float = 1.0
    layers: dict[str, str]
    linears: dict[str, str]
    mean: Tensor
    std: Tensor

    @abstractmethod
    def tower_parameters(self, tower: str) -> list[str]:
        """Names of the weights of a tower that fine-tuning changes."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, 3, H, W)."""

    @abstractmethod
    def plain_state(self) -> dict[str, Tensor]:
        """The weights under the names of the library that built the model."""

    @property
    def classifier(self) -> nn.Module | None:
        """The model's own classifier, features (N, D) to logits (N, C); None where it has none."""
        return None

    @property
    def reads_text(self) -> bool:
        """Whether the model has a text tower."""
        return False

    def texts(self, sentences: Sequence[str]) -> Texts:
        """The sentences as tokens.

        Raises:
            ProblemError: the model has no text tower.
        """
        raise ProblemError("name: the model has no text tower; a CLIP has one")

    def vectors(self, texts: Texts) -> Tensor:
        """Features (M, D) of M sentences, not of unit length, as the text tower embeds them now."""
        raise NotImplementedError

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features (M, D) of tokens (M, L)."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, D) of pixels (N, 3, H, W) from 0 to 255."""
        return self.encode((pixels.float() / 255 - self.mean) / self.std)

    def around(self, pixels: Tensor, loop: Loop) -> Tensor:
        """Features (N, D) of pixels (N, 3, H, W) from 0 to 255, with a loop in the place of the layers."""
        with standing_in(self._image_layers, Looping(self.depth("image"), loop)):
            features: Tensor = self(pixels)
        return features

    def image_layers(self) -> list[nn.Module]:
        """The transformer layers of the image tower."""
        return list(self._image_layers)

    def blank(self) -> Tensor:
        """Pixels (1, 3, H, W) of one black picture."""
        side = self.preprocessing.size
        return self.mean.new_zeros(1, 3, side, side)

    @property
    def _image_layers(self) -> Any:
        """A list or a sequence of modules."""
        return self.get_submodule(self.layers["image"])

    def fork(self, trained: Collection[str] = ()) -> Self:
        """A copy with its own modules over the same frozen tensors: layers can be replaced in it.

        The parameters named in ``trained`` are copied too, and take gradients.
        """
        chosen = frozenset(trained)
        named = [*self.named_parameters(), *self.named_buffers()]
        copied = copy.deepcopy(self, {id(tensor): tensor for name, tensor in named if name not in chosen})
        for name, parameter in copied.named_parameters():
            if name in chosen:
                parameter.requires_grad_(True)
        return copied

    def block_names(self, kinds: Sequence[str], towers: Sequence[str]) -> tuple[str, ...]:
        """Names of the blocks of these kinds in these towers, in the order of the forward pass."""
        return tuple(
            name
            for name in self.linears
            if name.split(".")[0] in towers and name.rsplit(".", maxsplit=1)[-1] in kinds
        )

    def outputs(self, block: str) -> slice:
        """The outputs of the block's linear layer that are the block's: all, or a third of a qkv layer's."""
        kind = block.rsplit(".", maxsplit=1)[-1]
        if kind not in PARTS:
            return slice(None)
        linear = self.get_submodule(self.linears[block])
        assert isinstance(linear, nn.Linear)
        width = linear.out_features // 3
        return slice(PARTS.index(kind) * width, (PARTS.index(kind) + 1) * width)

    def depth(self, tower: str) -> int:
        """Number of transformer layers of a tower."""
        return len(list(self.get_submodule(self.layers[tower]).children()))

    def freeze(self) -> Self:
        """Turns every parameter's gradient off and sets the evaluation mode."""
        return self.requires_grad_(False).eval()

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keeps the channel mean and deviation, in units of the pixel range 0..1."""
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def set_layers(self, layers: Mapping[str, str], kind_paths: Mapping[str, Mapping[str, str]]) -> None:
        """Names the blocks of each tower, from the paths of its kinds within a transformer layer."""
        use_patches(self)
        self.layers = dict(layers)
        self.linears = {
            f"{tower}.{layer}.{kind}": f"{path}.{layer}.{kind_paths[tower][whole]}"
            for tower, path in layers.items()
            for layer in range(self.depth(tower))
            for whole in KINDS
            if whole in kind_paths[tower]
            for kind in ((whole, *PARTS) if whole == "qkv" else (whole,))
        }


@contextmanager
def quietly() -> Iterator[None]:
    """Holds back what the libraries log while they build or fetch a model: what matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def reason(error: Exception) -> str:
    """What an error says, short enough for a message."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    line, _, rest = plain.partition("\n")
    # The first line of what does not load says of what, the second one what does not.
    line = f"{line} {rest.strip().partition(chr(10))[0].strip()}" if line.endswith(":") else line
    line = line or type(error).__name__
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."
