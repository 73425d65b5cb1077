"""What is adapted: pre-trained models behind one interface."""

from collections.abc import Mapping
from typing import Any

from trainables.backbones.backbone import KINDS, PARTS, Backbone
from trainables.backbones.clip import ClipBackbone
from trainables.backbones.open_clip_models import open_clip_backbone
from trainables.backbones.texts import Texts, class_sentences, class_vectors
from trainables.backbones.timm_vit import TimmBackbone, open_timm_backbone
from trainables.written import expanded, shown_as_written

LIBRARIES = {"open_clip": open_clip_backbone, "timm": open_timm_backbone}


@shown_as_written
def open_backbone(model: Mapping[str, Any], weights: bool = True) -> Backbone:
    """The model of a space's ``model`` section, frozen; random and without any file if not ``weights``.

    In a path, ``~`` and those ``${NAME}`` that the operator allows are expanded.

    Raises:
        ProblemError: see `open_clip_backbone` and `open_timm_backbone`.
    """
    pretrained = expanded(model["pretrained"], "pretrained") if weights else model["pretrained"]
    return LIBRARIES[model["library"]](model["name"], pretrained, weights)


__all__ = [
    "KINDS",
    "LIBRARIES",
    "PARTS",
    "Backbone",
    "ClipBackbone",
    "Texts",
    "TimmBackbone",
    "class_sentences",
    "class_vectors",
    "open_backbone",
    "open_clip_backbone",
    "open_timm_backbone",
]
