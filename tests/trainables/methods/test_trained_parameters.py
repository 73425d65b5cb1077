"""Numbers of trained weights, against the published ones of a ViT-B/16."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch

from trainables.backbones import TimmBackbone
from trainables.methods import Method

MakePack = Callable[..., Method]

HEAD = 100 * (768 + 1)  # a fresh head for CIFAR-100


@pytest.fixture(scope="module")
def vit_base() -> TimmBackbone:
    """Without weights, and without drawing any."""
    with torch.device("meta"):
        shape = timm.create_model("vit_base_patch16_224").to_empty(device="cpu")
    for parameter in shape.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    return TimmBackbone(shape)


LORA = {"blocks": ("q", "v")}

# Bafghi et al. (arXiv 2404.17245), the table on CIFAR-100: number and unit as printed, and how often the head
# is in it: their counts of LoRA have it twice.
TABLE: list[tuple[str, dict[str, Any], float, float, int]] = [
    ("full", {}, 85.9, 1e6, 1),
    ("top_k", {"layers": 3}, 21.3, 1e6, 1),
    ("linear", {}, 76.9, 1e3, 1),
    ("lora", {**LORA, "rank": 4}, 301, 1e3, 2),
    ("lora", {**LORA, "rank": 8}, 448, 1e3, 2),
    ("lora", {**LORA, "rank": 16}, 743, 1e3, 2),
    ("block_expansion", {"layers": 1}, 7.2, 1e6, 1),
    ("block_expansion", {"layers": 2}, 14.3, 1e6, 1),
    ("block_expansion", {"layers": 3}, 21.3, 1e6, 1),
    ("block_expansion", {"layers": 4}, 28.4, 1e6, 1),
]


def test_they_are_those_of_the_paper(vit_base: TimmBackbone, make_pack: MakePack) -> None:
    for name, settings, published, unit, heads in TABLE:
        (backbone,) = make_pack(vit_base, name, settings).trained_parameters()
        digit = 1.0 if published > 100 else 0.05
        # Thousands are cut off in print, millions rounded.
        assert abs((backbone + heads * HEAD) / unit - published) < digit, (name, settings)
