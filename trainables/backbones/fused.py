"""Layers that timm keeps in pieces (BEiT, EVA, EVA-02), as one linear layer each that can be adapted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import GluMlp, SwiGLU
from torch import Tensor, nn


class Piece(NamedTuple):
    """Some outputs of a fused layer, under the library's names.

    Attributes:
        weight: name of their weight, relative to the layer's parent; None where the library has it fused too.
        bias: name of their bias; None where they have none.
        outputs: how many they are.
    """

    weight: str | None
    bias: str | None
    outputs: int


class FusedLinear(nn.Linear):
    """The pieces side by side in one linear layer. Outputs of a piece without bias never get one.

    Args:
        weight: (out, in).
        biases: the bias of each piece; None where it has none.
        pieces: in the order of the outputs.
    """

    has_bias: Tensor

    def __init__(self, weight: Tensor, biases: Sequence[Tensor | None], pieces: Sequence[Piece]) -> None:
        super().__init__(
            weight.shape[1], weight.shape[0], bias=any(b is not None for b in biases), device="meta"
        )
        self.pieces = tuple(pieces)
        self.weight = nn.Parameter(weight.detach())
        if self.bias is not None:
            parts = [
                weight.new_zeros(piece.outputs) if bias is None else bias.detach()
                for bias, piece in zip(biases, pieces, strict=True)
            ]
            present = [
                torch.full_like(part, bias is not None) for part, bias in zip(parts, biases, strict=True)
            ]
            self.bias = nn.Parameter(torch.cat(parts))
            self.register_buffer("has_bias", torch.cat(present), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """W x + b, (..., in) -> (..., out)."""
        return F.linear(x, self.weight, None if self.bias is None else self.bias * self.has_bias)

    def plain(self, path: str) -> Iterator[tuple[str, Tensor]]:
        """The weights as the library has them; they share the memory of this layer's.

        Args:
            path: the layer's, with its own name at the end.
        """
        parent = path.rpartition(".")[0]
        if self.pieces[0].weight is None:
            yield f"{path}.weight", self.weight.detach()
        start = 0
        for piece in self.pieces:
            outputs = slice(start, start + piece.outputs)
            if piece.weight is not None:
                yield f"{parent}.{piece.weight}", self.weight.detach()[outputs]
            if piece.bias is not None and self.bias is not None:
                yield f"{parent}.{piece.bias}", self.bias.detach()[outputs]
            start = outputs.stop


def fuse(layer: nn.Module) -> None:
    """Puts fused layers in the place of a transformer layer's pieces.

    BEiT and EVA hand the bare weight of qkv to a function, past any module in its place; EVA-02 has three
    layers for q, k and v, and two for fc1. The outputs are the same but for rounding.
    """
    attention, mlp = getattr(layer, "attn", None), getattr(layer, "mlp", None)
    if isinstance(attention, nn.Module) and (qkv := _qkv(attention)) is not None:
        attention.qkv = qkv
        for piece in "qkv":
            setattr(attention, f"{piece}_proj", None)
            setattr(attention, f"{piece}_bias", None)
    if isinstance(mlp, SwiGLU):
        layer.mlp = _glu(mlp)


def plain_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model's state with the pieces of its fused layers under their library's names."""
    plain = dict(state)
    for path, module in model.named_modules():
        if isinstance(module, FusedLinear):
            plain.pop(f"{path}.weight")
            plain.pop(f"{path}.bias", None)
            plain |= dict(module.plain(path))
    return plain


def _qkv(attention: nn.Module) -> FusedLinear | None:
    whole = getattr(attention, "qkv", None)
    separate = [getattr(attention, f"{part}_proj", None) for part in "qkv"]
    biases = [getattr(attention, f"{part}_bias", None) for part in "qkv"]
    if (
        isinstance(whole, nn.Linear)
        and biases[0] is not None
        and not getattr(attention, "qkv_bias_separate", False)
    ):
        third = whole.out_features // 3
        pieces = [Piece(None, name, third) for name in ("q_bias", None, "v_bias")]
        return FusedLinear(whole.weight, [biases[0], None, biases[2]], pieces)
    # Grouped queries have fewer keys than queries; what then is a third?
    if whole is None and _like_each_other(separate):
        return _side_by_side(separate, [f"{part}_proj" for part in "qkv"])
    return None


def _like_each_other(linears: Sequence[nn.Module | None]) -> bool:
    sizes = {(m.in_features, m.out_features) for m in linears if isinstance(m, nn.Linear)}
    return len(sizes) == 1 and all(isinstance(linear, nn.Linear) for linear in linears)


def _side_by_side(linears: Sequence[nn.Module | None], names: Sequence[str]) -> FusedLinear:
    layers = [linear for linear in linears if isinstance(linear, nn.Linear)]
    pieces = [
        Piece(f"{name}.weight", None if layer.bias is None else f"{name}.bias", layer.out_features)
        for layer, name in zip(layers, names, strict=True)
    ]
    return FusedLinear(
        torch.cat([layer.weight for layer in layers]), [layer.bias for layer in layers], pieces
    )


def _glu(mlp: SwiGLU) -> GluMlp:
    """timm's own MLP with the gate's layer and the other one fused, over the same weights."""
    glu = GluMlp(1, 2, gate_last=False, device="meta")
    glu.fc1 = _side_by_side([mlp.fc1_g, mlp.fc1_x], ["fc1_g", "fc1_x"])
    for name in ("act", "drop1", "norm", "fc2", "drop2"):
        setattr(glu, name, getattr(mlp, name))
    return glu.train(mlp.training)
