"""What is adapted: pre-trained models behind one interface."""

from trainables.backbones.backbone import KINDS, Backbone
from trainables.backbones.clip import ClipBackbone, open_clip_backbone

__all__ = ["KINDS", "Backbone", "ClipBackbone", "open_clip_backbone"]
