"""The precision of a model's passes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.backbones import Backbone


class Precision:
    """Passes in float32; or in a narrower precision, by `torch.autocast`, which keeps LayerNorm in float32.

    Autocast would cast every frozen weight anew in every pass. Here the linear layers of the image tower find
    casts of theirs that were made once, while a pass lasts; the numbers are autocast's to the bit. Between
    passes all weights are as they were pre-trained, so that nothing is exported that was rounded.

    Args:
        name: float32, bfloat16 or float16.
        backbones: the models that passes run.
    """

    def __init__(self, name: str, *backbones: Backbone) -> None:
        self._dtype: torch.dtype = getattr(torch, name)
        self._device = backbones[0].mean.device.type
        self._casts = _casts(backbones, self._dtype) if self._dtype != torch.float32 else []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While it lasts, what the models are asked is computed in this precision."""
        if self._dtype == torch.float32:
            yield
            return
        for module, name, _, cast in self._casts:
            module._parameters[name] = cast
        try:
            with torch.autocast(self._device, self._dtype):
                yield
        finally:
            for module, name, original, _ in self._casts:
                module._parameters[name] = original


def _casts(
    backbones: tuple[Backbone, ...], dtype: torch.dtype
) -> list[tuple[nn.Module, str, nn.Parameter, nn.Parameter]]:
    """Every frozen weight of a linear layer: its module and name, itself, and its cast."""
    # Not of the text tower: there open_clip takes the tokens' precision from a layer's weight.
    modules = {
        module: None
        for backbone in backbones
        for layer in backbone.image_layers()
        for module in layer.modules()
    }
    casts: dict[Tensor, nn.Parameter] = {}
    found = []
    for module in modules:
        for name, weight in module.named_parameters(recurse=False) if isinstance(module, nn.Linear) else ():
            if not weight.requires_grad:
                if weight not in casts:
                    casts[weight] = nn.Parameter(weight.to(dtype), requires_grad=False)
                found.append((module, name, weight, casts[weight]))
    return found
