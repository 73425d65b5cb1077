"""What is adapted: pre-trained models behind one interface."""

from collections.abc import Callable

from trainables.backbones.backbone import KINDS, PARTS, Backbone
from trainables.backbones.checkpoints import WeightsFile
from trainables.backbones.clip import ClipBackbone
from trainables.backbones.open_clip_models import open_clip_backbone
from trainables.backbones.texts import Texts, class_sentences, class_vectors
from trainables.backbones.timm_models import open_timm_backbone
from trainables.backbones.timm_vit import TimmBackbone
from trainables.errors import ProblemError
from trainables.written import Spelling, expanded

LIBRARIES: dict[str, Callable[..., Backbone]] = {
    "open_clip": open_clip_backbone,
    "timm": open_timm_backbone,
}

_LOCAL_FOLDER, _HUB = "local-dir:", "hf-hub:"
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".npz", ".npy")


def open_backbone(
    library: str,
    name: str,
    pretrained: str = "bundled",
    file: str | None = None,
    img_size: int | None = None,
    weights: bool = True,
) -> Backbone:
    """A model under the settings of a space's ``model`` section, frozen.

    In a path, ``~`` and those ``${NAME}`` that the operator allows are expanded. Weights are named in one of
    three ways: ``pretrained: TAG``; ``pretrained: TAG`` and ``file: PATH``, where the tag says how pictures
    are prepared; or, where that is clear without a tag, ``pretrained: PATH``.

    Args:
        library: a key of `LIBRARIES`.
        name: the model's in its library.
        pretrained: the tag or the path of its weights.
        file: the path of its weights, where a tag tells the rest.
        img_size: side of the pictures in px, if not the tag's.
        weights: False makes them at random, and reads no file.

    Raises:
        ProblemError: see `open_clip_backbone` and `open_timm_backbone`.
    """
    with Spelling.of(name if name.startswith(_LOCAL_FOLDER) else None, pretrained, file).shown():
        place, tag = _weights_of(pretrained, file, weights)
        return LIBRARIES[library](library_name(name), tag, place, img_size, weights)


def _weights_of(pretrained: str, file: str | None, weights: bool) -> tuple[WeightsFile | None, str]:
    """The file that holds the weights, if any does, and the tag."""
    if pretrained.startswith((_LOCAL_FOLDER, _HUB)):
        raise ProblemError(
            f"pretrained: a model with its own configuration is a name; write name: {pretrained}"
        )
    if is_path(pretrained):
        if file:
            raise ProblemError(
                "file: the weights are named twice; write a tag under pretrained, or remove file"
            )
        return WeightsFile(_place(pretrained, "pretrained", weights), "pretrained"), "bundled"
    if file:
        return WeightsFile(_place(file, "file", weights), "file"), pretrained
    return None, pretrained


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
