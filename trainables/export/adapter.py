"""The project's own format: what was trained and no more, for every method."""

import copy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.export.given import Given
from trainables.export.head import Head
from trainables.export.trained import Trained, check_base, read_card, save_card, save_tensors
from trainables.methods import METHODS
from trainables.methods.block_method import BlockMethod
from trainables.methods.blocks import Block, LowRankBlock

TENSORS_FILE = "adapter.safetensors"
CARD_FILE = "adapter.json"

_HEAD = "head."


def write_adapter(trained: Trained, folder: Path) -> None:
    """Writes ``adapter.safetensors`` and ``adapter.json``.

    The tensors are those of the active blocks, ``image.3.qkv.A`` (r, in) and ``.B`` (out, r) or ``.delta``
    (out, in); for methods without blocks the weights that were trained, under the backbone's names; and
    ``head.weight`` (C, D), ``head.bias`` (C,). W becomes W + scale B A, or W + delta.
    """
    tensors = {f"{name}.{part}": t for name, block in trained.active.items() for part, t in _parts(block)}
    if not isinstance(trained.method, BlockMethod):
        tensors |= {name: p for name, p in trained.method.backbone.named_parameters() if p.requires_grad}
    tensors |= {f"{_HEAD}{name}": tensor for name, tensor in trained.head.tensors().items()}
    blocks = {name: _scaling(block) for name, block in trained.active.items()}
    save_tensors(tensors, folder / TENSORS_FILE)
    load = "trainables.export.load_adapter(folder, trainables.backbones.open_backbone(**model))"
    save_card({**trained.card(load), "blocks": blocks}, folder / CARD_FILE)


def _parts(block: Block) -> list[tuple[str, Tensor]]:
    if isinstance(block, LowRankBlock):
        down, up = block.written()
        return [("A", down), ("B", up)]
    return [("delta", block.matrices()[0])]


def _scaling(block: Block) -> dict[str, float]:
    if not isinstance(block, LowRankBlock):
        return {"scale": 1.0}
    rank, scale = len(block.written()[0]), block.scale[0, 0].item()
    return {"rank": rank, "alpha": scale * rank, "scale": scale}


def load_adapter(folder: Path, backbone: Backbone) -> Given:
    """The adapted model, with low-rank and full-rank updates in its weights.

    Args:
        folder: as `write_adapter` has written it.
        backbone: the pre-trained model; it is not changed.

    Raises:
        ProblemError: the adapter was trained on other weights, or by another version.
    """
    card = read_card(folder / CARD_FILE)
    check_base(card, backbone)
    tensors = load_file(folder / TENSORS_FILE)
    head = {name.removeprefix(_HEAD): tensors.pop(name) for name in list(tensors) if name.startswith(_HEAD)}
    kind = METHODS[card["method"]["name"]]
    if issubclass(kind, BlockMethod):
        adapted = _with_updates(backbone, card["blocks"], tensors)
    else:
        settings: Any = SimpleNamespace(**card["method"])
        adapted = _with_weights(kind(backbone, [settings], [Generator()]).backbone, tensors)
    return Given(adapted.freeze(), Head.from_tensors(head), tuple(card["classes"]))


@torch.no_grad()
def _with_updates(backbone: Backbone, blocks: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    adapted = copy.deepcopy(backbone)
    for name, scaling in blocks.items():
        linear = adapted.get_submodule(adapted.linears[name])
        assert isinstance(linear, nn.Linear)
        low_rank = f"{name}.A" in tensors
        update = tensors[f"{name}.B"] @ tensors[f"{name}.A"] if low_rank else tensors[f"{name}.delta"]
        linear.weight[adapted.outputs(name)] += scaling["scale"] * update
    return adapted


@torch.no_grad()
def _with_weights(adapted: Backbone, tensors: Mapping[str, Tensor]) -> Backbone:
    named = dict(adapted.named_parameters())
    for name, tensor in tensors.items():
        named[name].copy_(tensor)
    return adapted
