"""The format of Hugging Face's peft: a LoRA of the library's own model."""

import importlib
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from trainables.backbones import Backbone
from trainables.backbones.attention import SelfAttention
from trainables.backbones.fused import FusedLinear
from trainables.errors import ProblemError
from trainables.export import head as heads
from trainables.export.given import Given
from trainables.export.head import Head
from trainables.export.library import library_model, plain_path, with_state
from trainables.export.trained import EXPORT_FILE, Trained, check_base, read_card, save_card, save_tensors
from trainables.methods import Lora, SelectiveLora
from trainables.methods.blocks import LowRankBlock

CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"
_OLDER_TENSORS_FILE = "adapter_model.bin"


class Factors(NamedTuple):
    """An update B A of a weight (out, in): A (r, in) and B (out, r), alpha / r in B already."""

    a: Tensor
    b: Tensor


def write_peft(trained: Trained, folder: Path) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``, as peft loads them, and the head.

    ``PeftModel.from_pretrained(base, folder)`` gives the adapted model, where ``base`` is the untouched model
    of timm or open_clip. Closed blocks are absent, but for the attention of open_clip, an
    `nn.MultiheadAttention`: peft adapts both of its projections or none. Where only qkv is open, proj gets
    A = B = 0, with which it also stays closed in further training. Where proj is open, the attention is saved
    whole, with its updates in its weights, as one of peft's ``modules_to_save``: peft adds an update of proj
    twice (0.21 still does: https://github.com/huggingface/peft/pull/3774).

    Raises:
        ProblemError: the updates are not of low rank, there are none, or peft is not installed.
    """
    if not isinstance(trained.method, Lora | SelectiveLora):
        raise ProblemError(
            f"format: {trained.training.spaces[0].method.name} has no low-rank updates, which peft "
            "needs; use merged or adapter"
        )
    base = trained.training.problem.backbone
    layers = {name: base.get_submodule(base.linears[name]) for name in trained.active}
    fused = [name for name, layer in layers.items() if isinstance(layer, FusedLinear)]
    if fused:
        raise ProblemError(
            f"format: timm has the layer of {fused[0]} in pieces, which peft would adapt without effect; use "
            "merged or adapter"
        )
    if not trained.active:
        raise ProblemError("format: no block is active, so peft would have nothing to hold; use merged")
    peft = import_peft()
    whole = _whole(trained)
    updates = _updates(trained, whole)
    _config(peft, trained, updates, whole).save_pretrained(folder)
    save_tensors(_tensors(trained, updates, whole), folder / TENSORS_FILE)
    save_tensors(trained.head.tensors(), folder / heads.FILE)
    save_card(trained.card("peft.PeftModel.from_pretrained(base, folder)"), folder / EXPORT_FILE)


def import_peft() -> Any:
    """The library, which takes seconds to import and is not always there.

    Raises:
        ProblemError: it is not installed.
    """
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        raise ProblemError('peft is not installed: pip install "selective-lora-sweeper[peft]"') from error


def _whole(trained: Trained) -> tuple[str, ...]:
    """Paths of the attentions that are saved whole.

    To peft a path names every module whose path ends like it, as an image tower's ends like a text tower's.
    """
    backbone = trained.training.problem.backbone
    opened = {backbone.linears[name] for name in trained.active}
    there = {path: m for path, m in backbone.named_modules() if isinstance(m, SelfAttention)}
    chosen = tuple(plain_path(path) for path in there if f"{path}.proj" in opened)
    return tuple(plain_path(path) for path in there if path.endswith(chosen))


def _updates(trained: Trained, whole: Collection[str]) -> dict[str, Factors]:
    """The update of every other adapted module; that of an attention is its qkv's."""
    backbone = trained.training.problem.backbone
    blocks: dict[str, list[LowRankBlock]] = defaultdict(list)
    for name, block in trained.active.items():
        assert isinstance(block, LowRankBlock)
        path = backbone.linears[name]
        parent = path.rpartition(".")[0]
        attention = isinstance(backbone.get_submodule(parent), SelfAttention)
        blocks[plain_path(parent if attention else path)].append(block)
    return {path: _stacked(parts) for path, parts in blocks.items() if path not in whole}


@torch.no_grad()
def _stacked(blocks: Sequence[LowRankBlock]) -> Factors:
    """The updates of a layer's blocks as one: A's below each other, each B in the rows of its outputs."""
    downs, ups = [], []
    for block in blocks:
        down, changed = block.written()
        up = changed.new_zeros(block.out_features, len(down))
        up[block.outputs] = changed * block.scale[0, 0]
        downs.append(down)
        ups.append(up)
    return Factors(torch.cat(downs), torch.cat(ups, dim=1))


def _config(peft: Any, trained: Trained, updates: Mapping[str, Factors], whole: Sequence[str]) -> Any:
    """Full names alone: a name that ends like another one is excluded where peft would adapt it too."""
    assert isinstance(trained.method, Lora | SelectiveLora)
    usual = trained.method.members[0].rank
    # In peft's patterns a leading ^ makes a name the full one.
    unusual = {f"^{re.escape(path)}": len(a) for path, (a, _) in updates.items() if len(a) != usual}
    there = [plain_path(path) for path, _ in trained.training.problem.backbone.named_modules()]
    ends = tuple(f".{path}" for path in updates)
    same_ending = [path for path in there if path.endswith(ends) and path not in updates]
    return peft.LoraConfig(
        r=usual,
        lora_alpha=usual,
        rank_pattern=unusual,
        alpha_pattern=unusual,
        # By this name peft knows that no module is meant.
        target_modules=list(updates) or "dummy-target-modules",
        exclude_modules=same_ending or None,
        modules_to_save=list(whole) or None,
        base_model_name_or_path=trained.model.name,
        inference_mode=True,
    )


def _tensors(trained: Trained, updates: Mapping[str, Factors], whole: Sequence[str]) -> dict[str, Tensor]:
    """The tensors under the names that peft saves them by."""
    inside = tuple(f"{path}." for path in whole)
    plain = trained.method.merged(0).plain_state() if whole else {}
    tensors = {name: tensor for name, tensor in plain.items() if name.startswith(inside)}
    modules = {plain_path(path): m for path, m in trained.training.problem.backbone.named_modules()}
    for path, (a, b) in updates.items():
        tensors |= {f"{path}.lora_A.weight": a, f"{path}.lora_B.weight": b}
        if isinstance(modules[path], SelfAttention):
            proj = f"{path}.base_layer.out_proj"
            tensors[f"{proj}.lora_A.weight"] = torch.zeros_like(a)
            tensors[f"{proj}.lora_B.weight"] = torch.zeros_like(a.mT)
    return {f"base_model.model.{name}": tensor for name, tensor in tensors.items()}


def load_peft(folder: Path, backbone: Backbone) -> Given:
    """The model with an adapter of peft in its weights, also one that others have made.

    Args:
        folder: as `write_peft` or peft's own ``save_pretrained`` has written it.
        backbone: the pre-trained model; it is not changed.

    Raises:
        ProblemError: peft is not installed, the folder has no weights, or the adapter is not one of this
            model.
    """
    if not any((folder / file).is_file() for file in (TENSORS_FILE, _OLDER_TENSORS_FILE)):
        # Of a folder without weights peft would ask the Hugging Face hub, by the folder's name.
        raise ProblemError(f"the folder has {CONFIG_FILE} but no weights: expects {TENSORS_FILE} beside it")
    ours = (folder / EXPORT_FILE).is_file()
    card = read_card(folder / EXPORT_FILE) if ours else None
    if card is not None:
        check_base(card, backbone)
    peft = import_peft()
    with warnings.catch_warnings():
        # That a weight was not found is a warning of peft's.
        warnings.filterwarnings("error", message=".*adapter keys")
        adapted = peft.PeftModel.from_pretrained(
            library_model(backbone), str(folder), local_files_only=True
        ).merge_and_unload()
    model = with_state(backbone, adapted.state_dict(), "the space's model")
    if card is None:
        return Given(model)
    return Given(model, Head.from_tensors(load_file(folder / heads.FILE)), tuple(card["classes"]))
