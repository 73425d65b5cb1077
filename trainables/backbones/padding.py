"""Sentences without their padding: most are a fifth as long as the tokens that a CLIP reads."""

from typing import Any

import torch
from torch import Tensor, nn

from trainables.backbones.backbone import MISFITS

# Rounding differs with the length of the sentences in a pass.
_TOLERANCE = 1e-4
_SENTENCES = 512  # in one pass
# What open_clip's own text towers have for every place of their context, in one dimension or two.
_BY_PLACE = {"positional_embedding": 1, "attn_mask": 2}


class _TextTower(nn.Module):
    """A CLIP's text tower as a module of its own, for `functional_call`."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.clip.encode_text(tokens)
        return features


def encode_cut(clip: Any, tokens: Tensor) -> Tensor:
    """Features (M, D) of tokens (M, L) whose L is below the context length."""
    length = tokens.shape[1]
    place, owner = ("clip.text", clip.text) if hasattr(clip, "text") else ("clip", clip)
    cut = {
        f"{place}.{name}": tensor[(slice(length),) * dimensions]
        for name, dimensions in _BY_PLACE.items()
        if (tensor := getattr(owner, name, None)) is not None
    }
    features: Tensor = torch.func.functional_call(_TextTower(clip), cut, (tokens,))
    return features


@torch.no_grad()
def ignores_padding(clip: Any, tokens: Tensor, padding: int) -> bool:
    """Whether the text tower gives these tokens (M, L) the same features without their padding.

    A causal tower that pools at the last word does, and one that masks its padding; SigLIP's does not.
    """
    longest = int(_lengths(tokens, padding).max())
    try:
        cut = encode_cut(clip, tokens[:, :longest])
    except MISFITS:
        return False  # it reads whole contexts alone
    return torch.allclose(cut, clip.encode_text(tokens), rtol=_TOLERANCE, atol=_TOLERANCE)


def encode_in_parts(clip: Any, tokens: Tensor, padding: int | None) -> Tensor:
    """Features (M, D) of tokens (M, L), by passes of sentences that are about as long as each other.

    Args:
        padding: the token that is left out at the end of sentences; None where the tower looks at it.
    """
    if padding is None:
        return torch.cat([clip.encode_text(part) for part in tokens.split(_SENTENCES)])
    lengths = _lengths(tokens, padding)
    order = lengths.argsort()
    parts = [encode_cut(clip, tokens[part, : lengths[part[-1]]]) for part in order.split(_SENTENCES)]
    return torch.cat(parts)[order.argsort()]


def _lengths(tokens: Tensor, padding: int) -> Tensor:
    """Tokens (M,) up to each sentence's last that is no padding; at least one."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != padding) * places).amax(dim=1).clamp(min=1)
