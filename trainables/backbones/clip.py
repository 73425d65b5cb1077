"""CLIP models, by open_clip."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from open_clip.transform import PreprocessCfg
from torch import Tensor, nn

from trainables.backbones.attention import SelfAttention
from trainables.backbones.backbone import Backbone
from trainables.backbones.examined import examine
from trainables.backbones.fused import fuse, plain_names
from trainables.backbones.padding import encode_in_parts, ignores_padding
from trainables.backbones.texts import Texts, kept_vectors
from trainables.backbones.timm_vit import TIMM_PATHS
from trainables.data.preprocessing import OpenClipPreprocessing
from trainables.errors import ProblemError

Tokenizer = Callable[[Sequence[str]], Tensor]

_OWN_PATHS = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}


class ClipBackbone(Backbone):
    """The image tower of a CLIP, with its text tower to name classes and to be adapted too."""

    # open_clip's models: their attributes are not typed.
    clip: Any

    def __init__(self, clip: nn.Module, tokenizer: Tokenizer, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.clip = clip
        self.tokenizer = tokenizer
        settings = asdict(PreprocessCfg(self.clip.visual.image_size)) | getattr(
            clip.visual, "preprocess_cfg", {}
        )
        self.preprocessing = OpenClipPreprocessing.of(settings)
        self.logit_scale = math.exp(self.clip.logit_scale.item())
        self.set_normalisation(mean, std)
        self._name_layers()
        self.freeze()
        sentences = self.tokenizer(["", "a photo"])
        examine(self, lambda: self.encode_text(sentences))
        last = int(sentences[0, -1])
        self._padding = last if ignores_padding(self.clip, sentences, last) else None

    def _name_layers(self) -> None:
        """Finds the transformer layers, and makes modules of their attention's projections."""
        layers, paths = {}, {}
        places = {
            "image": (
                ("clip.visual.transformer.resblocks", _OWN_PATHS),
                ("clip.visual.trunk.blocks", TIMM_PATHS),
            ),
            "text": (
                ("clip.transformer.resblocks", _OWN_PATHS),
                ("clip.text.transformer.resblocks", _OWN_PATHS),
            ),
        }
        for tower, candidates in places.items():
            for path, kind_paths in candidates:
                if _has(self, path):
                    layers[tower], paths[tower] = path, kind_paths
        if "image" not in layers:
            raise ProblemError("name: the image tower of this architecture is not a vision transformer")
        for path in layers.values():
            for layer in self.get_submodule(path).children():
                attention = getattr(layer, "attn", None)
                if isinstance(attention, nn.MultiheadAttention):
                    layer.attn = SelfAttention(attention)
                fuse(layer)
        self.set_layers(layers, paths)

    @property
    def reads_text(self) -> bool:
        """Every CLIP does."""
        return True

    def tower_parameters(self, tower: str) -> list[str]:
        """All of the image tower, or all of the rest but the temperature (and bias) of the loss."""
        names = [name for name, _ in self.named_parameters()]
        if tower == "image":
            return [name for name in names if name.startswith("clip.visual.")]
        return [name for name in names if not name.startswith(("clip.visual.", "clip.logit_"))]

    def encode(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, 3, H, W), not normalised to unit length."""
        features: Tensor = self.clip.visual(images)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features (M, D) of tokens (M, L), not normalised to unit length."""
        features: Tensor = self.clip.encode_text(tokens)
        return features

    def texts(self, sentences: Sequence[str]) -> Texts:
        """The sentences as tokens."""
        return Texts(self.tokenizer(list(sentences)).to(self.mean.device))

    def vectors(self, texts: Texts) -> Tensor:
        """Features (M, D) of M sentences, as the text tower embeds them now; computed once."""
        if texts.vectors is None:
            # They may be asked for while measuring, and trained with later.
            with torch.inference_mode(False), torch.no_grad():
                texts.vectors = kept_vectors(self, texts.tokens, self._encode_in_parts)
        return texts.vectors

    def _encode_in_parts(self, tokens: Tensor) -> Tensor:
        return encode_in_parts(self.clip, tokens, self._padding)

    def plain_state(self) -> dict[str, Tensor]:
        """The weights as open_clip names them: attention is `nn.MultiheadAttention`'s again."""
        ours = plain_names(self.clip, self.clip.state_dict())
        return {_plain_name(name): tensor for name, tensor in ours.items()}


def _plain_name(name: str) -> str:
    """`attn.qkv.weight` of a `SelfAttention` is `attn.in_proj_weight` of the attention that it stands for."""
    matched = re.fullmatch(r"(.*resblocks\.\d+\.attn)\.(qkv|proj)\.(weight|bias)", name)
    if matched is None:
        return name
    layer, kind, what = matched.groups()
    return f"{layer}.in_proj_{what}" if kind == "qkv" else f"{layer}.out_proj.{what}"


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
