"""What is adapted: pre-trained models behind one interface."""

from collections.abc import Callable, Mapping
from typing import Any

from trainables.backbones.backbone import KINDS, PARTS, Backbone
from trainables.backbones.checkpoints import WeightsFile
from trainables.backbones.clip import ClipBackbone
from trainables.backbones.open_clip_models import open_clip_backbone
from trainables.backbones.texts import Texts, class_sentences, class_vectors
from trainables.backbones.timm_models import open_timm_backbone
from trainables.backbones.timm_vit import TimmBackbone
from trainables.errors import ProblemError
from trainables.written import expanded, shown_as_written

LIBRARIES: dict[str, Callable[..., Backbone]] = {
    "open_clip": open_clip_backbone,
    "timm": open_timm_backbone,
}

_LOCAL_FOLDER, _HUB = "local-dir:", "hf-hub:"
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".npz", ".npy")


@shown_as_written
def open_backbone(model: Mapping[str, Any], weights: bool = True) -> Backbone:
    """The model of a space's ``model`` section, frozen; random and without any file if not ``weights``.

    In a path, ``~`` and those ``${NAME}`` that the operator allows are expanded. Weights are named in one of
    three ways: ``pretrained: TAG``; ``pretrained: TAG`` and ``file: PATH``, where the tag says how pictures
    are prepared; or, where that is clear without a tag, ``pretrained: PATH``.

    Raises:
        ProblemError: see `open_clip_backbone` and `open_timm_backbone`.
    """
    name, pretrained, file = library_name(model["name"]), model.get("pretrained", "bundled"), None
    if pretrained.startswith((_LOCAL_FOLDER, _HUB)):
        raise ProblemError(
            f"pretrained: a model with its own configuration is a name; write name: {pretrained}"
        )
    if is_path(pretrained):
        if model.get("file"):
            raise ProblemError(
                "file: the weights are named twice; write a tag under pretrained, or remove file"
            )
        file, pretrained = WeightsFile(_place(pretrained, "pretrained", weights), "pretrained"), "bundled"
    elif model.get("file"):
        file = WeightsFile(_place(model["file"], "file", weights), "file")
    return LIBRARIES[model["library"]](name, pretrained, file, model.get("img_size"), weights)


def library_name(name: str) -> str:
    """A model's name as its library takes it: a folder by its whole path."""
    if name.startswith(_LOCAL_FOLDER):
        return expanded(name, "name")
    return name


def _place(path: str, setting: str, weights: bool) -> str:
    return expanded(path, setting) if weights else path


def is_path(pretrained: str) -> bool:
    """Whether ``pretrained`` is a file's path and no tag."""
    return "/" in pretrained or pretrained.endswith(_WEIGHTS)


__all__ = [
    "KINDS",
    "LIBRARIES",
    "PARTS",
    "Backbone",
    "ClipBackbone",
    "Texts",
    "TimmBackbone",
    "WeightsFile",
    "class_sentences",
    "class_vectors",
    "is_path",
    "library_name",
    "open_backbone",
    "open_clip_backbone",
    "open_timm_backbone",
]
