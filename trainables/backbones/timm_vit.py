"""Vision transformers, by timm: DINO, DINOv2, MAE, supervised."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from trainables.backbones import tiny_dino
from trainables.backbones.backbone import Backbone, check_state, quietly, reason
from trainables.data.preprocessing import Preprocessing
from trainables.errors import MissingError, ProblemError

TIMM_PATHS = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
"""Where timm's transformer layers have their linear layers."""

_HUB = "hub"


class TimmBackbone(Backbone):
    """A vision transformer of timm; its features are what its classifier is given."""

    # timm's models: their attributes are not typed.
    vit: Any

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit.eval()
        config = timm.data.resolve_model_data_config(vit)
        size = config["input_size"][-1]
        self.preprocessing = Preprocessing(size, config["interpolation"], config["crop_pct"])
        self.set_normalisation(config["mean"], config["std"])
        self.feature_size = self.vit.num_features
        if not isinstance(getattr(vit, "blocks", None), nn.Sequential | nn.ModuleList):
            raise ProblemError("name: the architecture is not a vision transformer with a list of blocks")
        self.set_layers({"image": "vit.blocks"}, {"image": TIMM_PATHS})
        self.freeze()
        self.linears = only_reached(self, self.linears, lambda: self.encode(torch.zeros(1, 3, size, size)))

    @property
    def classifier(self) -> nn.Module | None:
        """The classifier that the model was trained with, if it has one."""
        head = self.vit.get_classifier()
        return head if isinstance(head, nn.Linear) else None

    def tower_parameters(self, tower: str) -> list[str]:
        """All but the classifier of the pre-training task."""
        classifier = {id(p) for p in self.classifier.parameters()} if self.classifier else set()
        return [name for name, p in self.named_parameters() if id(p) not in classifier and tower == "image"]

    def encode(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, 3, H, W): the pooled output, before the classifier."""
        features: Tensor = self.vit.forward_head(self.vit.forward_features(images), pre_logits=True)
        return features

    def plain_state(self) -> dict[str, Tensor]:
        """The weights as timm names them."""
        return {name.removeprefix("vit."): tensor for name, tensor in self.state_dict().items()}


@torch.no_grad()
def only_reached(
    backbone: nn.Module, linears: Mapping[str, str], forward: Callable[[], object]
) -> dict[str, str]:
    """The linear layers that a forward pass calls as modules: an adapter anywhere else would never train.

    Raises:
        ProblemError: there are none.
    """
    called: set[str] = set()
    there = dict(backbone.named_modules())
    hooks = [
        there[path].register_forward_hook(lambda *_, path=path: called.add(path))
        for path in set(linears.values())
        if isinstance(there.get(path), nn.Linear)
    ]
    forward()
    for hook in hooks:
        hook.remove()
    reached = {name: path for name, path in linears.items() if path in called}
    if not reached:
        raise ProblemError("name: the architecture has no attention or MLP layers that can be adapted")
    return reached


def open_timm_backbone(name: str, pretrained: str, weights: bool = True) -> TimmBackbone:
    """A vision transformer by its timm name.

    Args:
        name: ``tiny-dino``, which ships with the project, or a timm architecture, with the tag of its weights
            where they come from the hub (``vit_base_patch16_224.dino``). The tag also says how pictures are
            prepared.
        pretrained: ``bundled`` for tiny-dino; else the path of a checkpoint (``.safetensors``, ``.pth``), or
            ``hub`` to fetch the tag's.
        weights: whether to load the weights; without them the model is random, and no file is needed.

    Raises:
        ProblemError: no such architecture, or a checkpoint that does not fit.
        MissingError: the weights are not here and cannot be fetched.
    """
    if name == tiny_dino.NAME:
        vit = tiny_dino.open_tiny_dino(pretrained=pretrained == "bundled")
    else:
        _check_name(name)
        vit = timm.create_model(name)
    if pretrained == "bundled" and name != tiny_dino.NAME:
        raise ProblemError(f"pretrained: {name} has no bundled weights; give a file's path, or 'hub'")
    if weights and pretrained != "bundled":
        vit = _loaded(name, pretrained, vit)
    return TimmBackbone(vit)


def _loaded(name: str, pretrained: str, vit: Any) -> Any:
    if pretrained == _HUB:
        return _fetched(name)
    if not Path(pretrained).is_file():
        raise MissingError(f"pretrained: there is no file '{pretrained}'; give a checkpoint's path, or 'hub'")
    try:
        theirs = load_state_dict(pretrained, weights_only=True)
    except Exception as error:
        raise ProblemError(
            f"pretrained: '{pretrained}' cannot be read as a checkpoint: {reason(error)}"
        ) from error
    adjusted = _filtered(theirs, vit)
    check_state(adjusted, vit.state_dict(), name)
    vit.load_state_dict(adjusted)
    return vit


def _filtered(theirs: dict[str, Tensor], vit: Any) -> dict[str, Tensor]:
    """The checkpoint under timm's names, where timm knows how to translate it (DINO's own, for example)."""
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    if theirs.keys() == vit.state_dict().keys() or not isinstance(vit, VisionTransformer):
        return theirs
    try:
        filtered: dict[str, Tensor] = checkpoint_filter_fn(dict(theirs), vit)
    except (KeyError, RuntimeError, ValueError):
        return theirs
    return filtered


def _fetched(name: str) -> Any:
    try:
        with quietly():
            return timm.create_model(name, pretrained=True)
    except Exception as error:
        raise MissingError(
            f"pretrained: the weights of {name} are not on this machine and cannot be fetched "
            f"({reason(error)}); put the file here and give its path as model.pretrained"
        ) from error


def _check_name(name: str) -> None:
    if timm.is_model(name):
        tag = name.partition(".")[2]
        tags = [known.partition(".")[2] for known in timm.list_pretrained(name.partition(".")[0])]
        if tag and tag not in tags:
            raise ProblemError(
                f"name: {name.partition('.')[0]} has no weights '{tag}' in timm; it has {', '.join(tags)}"
            )
        return
    near = difflib.get_close_matches(name, timm.list_models(), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "; timm.list_models() names them"
    raise ProblemError(f"name: timm has no architecture '{name}'{hint}")
