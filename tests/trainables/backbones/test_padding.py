"""Sentences are embedded without their padding, to the same numbers, where a tower does not look at it."""

import copy
from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from trainables.backbones import ClipBackbone
from trainables.backbones.padding import encode_in_parts
from trainables.errors import ProblemError

VISION = {"layers": 1, "width": 16, "head_width": 8, "image_size": 16, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
# SigLIP's tower: it sees all words from everywhere, and pools at the last of the context.
BOTH_WAYS = TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
SENTENCES = ["", "a photo of a very small red letter", "one", "a circle"]


def opened(kind: type[nn.Module], text: dict[str, Any]) -> tuple[ClipBackbone, nn.Module]:
    """A backbone with random weights, and open_clip's own model with the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = kind(embed_dim=8, vision_cfg=VISION, text_cfg=text).eval()
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    tokenizer = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])
    return ClipBackbone(copy.deepcopy(theirs), tokenizer, (0.5,) * 3, (0.5,) * 3), theirs


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of tokens that are embedded, a pass at a time."""
    shapes: list[tuple[int, ...]] = []
    plain: Callable[..., Tensor] = nn.Embedding.forward

    def noted(self: nn.Embedding, tokens: Tensor) -> Tensor:
        shapes.append(tuple(tokens.shape))
        return plain(self, tokens)

    monkeypatch.setattr(nn.Embedding, "forward", noted)
    return shapes


@pytest.mark.parametrize(
    ("kind", "text", "widths"),
    [
        (open_clip.CLIP, TEXT, [3, 10]),
        (open_clip.CustomTextCLIP, TEXT, [3, 10]),
        (open_clip.CustomTextCLIP, TEXT | {"embed_cls": True}, [16, 16]),
        (open_clip.CustomTextCLIP, BOTH_WAYS, [16, 16]),
        (open_clip.CLIP, TEXT | {"no_causal_mask": True}, [16, 16]),
    ],
    ids=["clip", "custom", "class token", "siglip", "sees padding"],
)
def test_sentences_are_embedded_as_open_clip_does(
    kind: type[nn.Module],
    text: dict[str, Any],
    widths: list[int],
    read: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainables.backbones.padding._SENTENCES", 2)
    backbone, theirs = opened(kind, text)
    texts = backbone.texts(SENTENCES)
    read.clear()
    ours = backbone.vectors(texts)
    assert read == [(2, width) for width in widths]
    with torch.no_grad():
        assert torch.allclose(ours, theirs.encode_text(texts.tokens), rtol=1e-5, atol=1e-6)


def test_a_sentence_of_nothing_but_padding_has_a_token() -> None:
    backbone, theirs = opened(open_clip.CLIP, TEXT)
    tokens = torch.zeros(2, 16, dtype=torch.int64)
    with torch.no_grad():
        ours, full = encode_in_parts(backbone.clip, tokens, 0), theirs.encode_text(tokens)
    assert torch.allclose(ours, full, rtol=1e-5, atol=1e-6)


def test_a_text_tower_that_cannot_be_run_is_told() -> None:
    """open_clip's own CLIP has no place for a class token."""
    with pytest.raises(ProblemError, match=r"name: the text tower cannot be run: .*; use another"):
        opened(open_clip.CLIP, TEXT | {"embed_cls": True})
