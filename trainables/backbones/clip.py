"""CLIP models, by open_clip."""

import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.backbones import tiny_clip
from trainables.backbones.attention import SelfAttention
from trainables.backbones.backbone import Backbone
from trainables.errors import ProblemError

Tokenizer = Callable[[Sequence[str]], Tensor]

_KIND_PATHS = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}


class ClipBackbone(Backbone):
    """The image tower of a CLIP, with its text tower at hand to name classes."""

    # open_clip's models: their attributes are not typed.
    clip: Any

    def __init__(self, clip: nn.Module, tokenizer: Tokenizer, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.clip = clip
        self.tokenizer = tokenizer
        self.image_size = self.clip.visual.image_size[0]
        self.feature_size = self.clip.visual.output_dim
        self.logit_scale = math.exp(self.clip.logit_scale.item())
        self.set_normalisation(mean, std)
        resblocks = self.clip.visual.transformer.resblocks
        for block in resblocks:
            block.attn = SelfAttention(block.attn)
        self.linears = {
            f"image.{layer}.{kind}": f"clip.visual.transformer.resblocks.{layer}.{path}"
            for layer in range(len(resblocks))
            for kind, path in _KIND_PATHS.items()
        }
        self.freeze()

    @property
    def image_tower(self) -> nn.Module:
        """CLIP's visual encoder with its projection."""
        tower: nn.Module = self.clip.visual
        return tower

    def encode(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, 3, H, W), not normalised to unit length."""
        features: Tensor = self.clip.visual(images)
        return features

    @torch.no_grad()
    def class_embeddings(self, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Zero-shot classifier (C, D): mean of the unit embeddings over templates, made unit again.

        Source: Radford et al., 2021 (CLIP), section 3.1.4, prompt ensembling.
        """
        sentences = [template.format(name) for name in classes for template in templates]
        embeddings = F.normalize(self.clip.encode_text(self.tokenizer(sentences)), dim=-1)
        return F.normalize(embeddings.view(len(classes), len(templates), -1).mean(dim=1), dim=-1)


def open_clip_backbone(name: str, pretrained: str) -> ClipBackbone:
    """A CLIP by its open_clip architecture name.

    Args:
        name: ``tiny-clip``, which ships with the project, or any architecture of open_clip.
        pretrained: ``bundled`` for tiny-clip; else one of open_clip's tags, or the path of a checkpoint.

    Raises:
        ProblemError: no such architecture or weights, or not a vision transformer.
    """
    if name == tiny_clip.NAME:
        if pretrained != "bundled":
            raise ProblemError(
                f"model.pretrained: {name} comes with 'bundled' weights only, got '{pretrained}'"
            )
        model, tokenizer = tiny_clip.open_tiny_clip()
        return ClipBackbone(model, tokenizer, tiny_clip.MEAN, tiny_clip.STD)
    _check_names(name, pretrained)
    try:
        model, tokenizer = open_clip.create_model(name, pretrained=pretrained), open_clip.get_tokenizer(name)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ProblemError(f"model.pretrained: '{pretrained}' does not load as {name}: {reason}") from error
    config = model.visual.preprocess_cfg
    return ClipBackbone(model, tokenizer, config["mean"], config["std"])


def _check_names(name: str, pretrained: str) -> None:
    known = [tiny_clip.NAME, *open_clip.list_models()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; open_clip.list_models() names them"
        raise ProblemError(f"model.name: open_clip has no architecture '{name}'{hint}")
    vision = open_clip.get_model_config(name)["vision_cfg"]
    foreign = vision.get("timm_model_name") or vision.get("output_tokens")
    if foreign or not isinstance(vision["layers"], int):
        raise ProblemError(f"model.name: '{name}' is not one of open_clip's own vision transformers")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise ProblemError(
            f"model.pretrained: '{pretrained}' is neither a file nor a tag of {name}; "
            f"its tags are {', '.join(tags) or 'none'}"
        )
