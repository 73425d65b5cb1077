"""CLIP models by their open_clip names: architectures, tags, checkpoints, folders."""

import difflib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.factory import load_checkpoint
from open_clip.model import (
    convert_to_custom_text_state_dict,
    resize_pos_embed,
    resize_text_pos_embed,
    set_model_preprocess_cfg,
)
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from trainables.backbones import tiny_clip
from trainables.backbones.backbone import quietly, reason
from trainables.backbones.checkpoints import WeightsFile
from trainables.backbones.clip import ClipBackbone, Tokenizer
from trainables.errors import MissingError, ProblemError

_BUNDLED = "bundled"
_HUB, _FOLDER = "hf-hub:", "local-dir:"
# How open_clip and others call the weights in a folder, in the order of open_clip's preference.
_FOLDER_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
VIEW = ("mean", "std", "interpolation", "resize_mode")


def open_clip_backbone(
    name: str,
    pretrained: str = _BUNDLED,
    file: WeightsFile | None = None,
    img_size: int | None = None,
    weights: bool = True,
) -> ClipBackbone:
    """A CLIP by its open_clip name.

    Args:
        name: ``tiny-clip``, which ships with the project; any architecture of open_clip whose image tower
            is a vision transformer; or ``hf-hub:ORG/NAME`` or ``local-dir:PATH``, a model with its
            configuration and tokenizer, as open_clip saves it.
        pretrained: ``bundled`` for what comes with the name (tiny-clip, a folder); else one of open_clip's
            tags, which also says how pictures are prepared.
        file: the weights, in place of the tag's.
        img_size: side of the pictures, px; None for the architecture's. Position embeddings are resampled
        to it.
        weights: whether to load the weights; without them the model is random, and no file is needed.

    Raises:
        ProblemError: no such architecture or tag, or a checkpoint that does not fit.
        MissingError: the weights are not here and cannot be fetched.
    """
    if name == tiny_clip.NAME:
        tiny_clip.register()
    config = _config(name)
    view = _view(name, pretrained, file)
    model = _built(name, config, view, img_size)
    if weights:
        file = file or WeightsFile(_place(name, pretrained), "pretrained")
        _load(model, name, file, img_size)
    if img_size is not None and _has_timm_trunk(config):
        _resize(model, name, img_size)
    tokenizer = _tokenizer(name, model)
    settings = model.visual.preprocess_cfg
    return ClipBackbone(model.eval(), tokenizer, settings["mean"], settings["std"])


def _config(name: str) -> dict[str, Any]:
    """The architecture.

    Raises:
        ProblemError: there is none of that name, or it is no CLIP with a vision transformer.
        MissingError: it is not here and cannot be fetched.
    """
    folder = Path(name.removeprefix(_FOLDER))
    if name.startswith(_FOLDER):
        if not (folder / "open_clip_config.json").is_file():
            raise MissingError(f"name: there is no open_clip_config.json in {folder}")
    elif not name.startswith(_HUB) and name not in open_clip.list_models():
        near = difflib.get_close_matches(name, open_clip.list_models(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; open_clip.list_models() names them"
        raise ProblemError(f"name: open_clip has no architecture '{name}'{hint}")
    try:
        with quietly():
            config: dict[str, Any] = open_clip.get_model_config(name)
        text = config["text_cfg"]
        # In a folder, a text tower may be named by where it lies there, as our exports have it.
        if name.startswith(_FOLDER) and "hf_model_name" in text and (folder / text["hf_model_name"]).is_dir():
            text |= {"hf_model_name": str(folder / text["hf_model_name"]), "hf_model_pretrained": False}
        convolutional = not isinstance(config["vision_cfg"].get("layers", 0), int)
    except Exception as error:
        if name.startswith(_HUB):
            raise MissingError(
                f"name: {name} is not on this machine and cannot be fetched ({reason(error)})"
            ) from error
        raise ProblemError(
            f"name: {name} has a configuration that cannot be read: {reason(error)}"
        ) from error
    if convolutional or "multimodal_cfg" in config:
        raise ProblemError(f"name: '{name}' is not a CLIP whose image tower is a vision transformer")
    return config


def _view(name: str, pretrained: str, file: WeightsFile | None) -> dict[str, Any]:
    """How the weights' pictures are prepared, as far as it is not the architecture that says it.

    Raises:
        ProblemError: the tag is none of the architecture's, was trained with another activation, or is
        needed.
    """
    if name == tiny_clip.NAME:
        if pretrained != _BUNDLED:
            raise ProblemError(
                f"pretrained: '{pretrained}' is neither a file nor a tag of {name}; leave it out"
            )
        return {"mean": tiny_clip.MEAN, "std": tiny_clip.STD}
    if name.startswith((_HUB, _FOLDER)):
        if pretrained != _BUNDLED:
            raise ProblemError(f"pretrained: the weights come with {name}; leave it out, or give a file")
        return {}
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained == _BUNDLED and file is not None:
        return _only_view(name, tags, file)
    if pretrained not in tags:
        raise ProblemError(
            f"pretrained: '{pretrained}' is neither a file nor a tag of {name}; "
            f"its tags are {', '.join(tags) or 'none'}"
        )
    view: dict[str, Any] = open_clip.get_pretrained_cfg(name, pretrained)
    _check_activation(name, view, f"the weights '{pretrained}'")
    return view


def _only_view(name: str, tags: list[str], file: WeightsFile) -> dict[str, Any]:
    """How pictures are prepared by all tags of an architecture."""
    views: dict[str, list[str]] = defaultdict(list)
    configs: dict[str, dict[str, Any]] = {tag: open_clip.get_pretrained_cfg(name, tag) for tag in tags}
    for tag, config in configs.items():
        views[str([config.get(key) for key in (*VIEW, "quick_gelu")])].append(tag)
    if len(views) > 1:
        groups = "; or ".join(", ".join(some) for some in views.values())
        raise file.refusal(
            f"'{file.path}' could be any of the weights of {name}, which do not see pictures in one way; "
            f"write pretrained: TAG, which says how, and file: PATH. The tags are {groups}"
        )
    if not tags:
        return {}
    _check_activation(name, configs[tags[0]], "such weights")
    return configs[tags[0]]


def _check_activation(name: str, view: Mapping[str, Any], what: str) -> None:
    quick = view.get("quick_gelu", False)
    if quick != open_clip.get_model_config(name).get("quick_gelu", False):
        other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
        raise ProblemError(f"name: {what} were trained as {other}; use that name")


def _has_timm_trunk(config: Mapping[str, Any]) -> bool:
    return "timm_model_name" in config["vision_cfg"]


def _built(name: str, config: Mapping[str, Any], view: Mapping[str, Any], img_size: int | None) -> Any:
    """The architecture with random weights. A trunk of timm is resized when its weights are in it."""
    try:
        with quietly():
            return open_clip.create_model(
                name,
                load_weights=False,
                text_cfg=config["text_cfg"],
                pretrained_text=False,
                force_image_size=None if _has_timm_trunk(config) else img_size,
                force_preprocess_cfg={key: view[key] for key in VIEW if key in view},
            )
    except Exception as error:
        if _is_not_here(error):
            raise MissingError(
                f"name: a part of {name} is not here and cannot be fetched: {reason(error)}"
            ) from error
        raise ProblemError(f"name: {name} cannot be built: {reason(error)}") from error


def _is_not_here(error: Exception) -> bool:
    """Whether the configuration of a text tower of Hugging Face could not be fetched."""
    return isinstance(error, OSError | ConnectionError) or "pip install" in str(error)


def _resize(model: Any, name: str, img_size: int) -> None:
    try:
        model.visual.set_input_size(img_size)
    except Exception as error:
        raise ProblemError(f"img_size: {name} cannot see {img_size} px: {reason(error)}") from error
    set_model_preprocess_cfg(model, {**model.visual.preprocess_cfg, "size": img_size})


def _tokenizer(name: str, model: Any) -> Tokenizer:
    if name == tiny_clip.NAME:
        tokenizer: Tokenizer = tiny_clip.open_tokenizer()
        return tokenizer
    try:
        with quietly():
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:
        raise MissingError(
            f"name: the tokenizer of {name} is not here and cannot be fetched: {reason(error)}"
        ) from error
    words = getattr(getattr(model, "text", model), "vocab_size", None)
    if isinstance(tokenizer, SimpleTokenizer) and isinstance(words, int) and tokenizer.vocab_size > words:
        raise ProblemError(
            f"name: {name} knows {words} words, its tokenizer {tokenizer.vocab_size}: it was trained "
            "with another "
            "one; give the architecture by its name, and the weights as file"
        )
    return tokenizer


def _place(name: str, pretrained: str) -> str:
    """The path of the weights that come with a name or a tag, fetched once where there is a network."""
    if name == tiny_clip.NAME:
        return str(tiny_clip.WEIGHTS)
    if name.startswith(_FOLDER):
        folder = Path(name.removeprefix(_FOLDER))
        files = [folder / file for file in _FOLDER_WEIGHTS if (folder / file).is_file()]
        if not files:
            raise MissingError(f"name: there are no weights in {folder}, such as {_FOLDER_WEIGHTS[0]}")
        return str(files[0])
    try:
        with quietly():
            path: str = (
                download_pretrained_from_hf(name.removeprefix(_HUB))
                if name.startswith(_HUB)
                else open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, pretrained))
            )
    except Exception as error:
        raise MissingError(
            f"pretrained: the weights '{pretrained}' of {name} are not on this machine and cannot be fetched "
            f"({reason(error)}); put the file here and give its path as model.file"
        ) from error
    return path


def _load(model: Any, name: str, file: WeightsFile, img_size: int | None) -> None:
    file.check()
    state = {} if file.is_archive else file.state()
    try:
        with quietly():
            if file.is_archive:
                load_checkpoint(model, file.path)
                return
            state = _translated(model, state)
            if img_size is None:
                _check_size(model, name, file, state)
            resize_pos_embed(state, model)
            resize_text_pos_embed(state, model)
    except ProblemError:
        raise
    except Exception as error:
        if state:
            file.check_fits(state, model.state_dict(), name)
        raise file.refusal(f"'{file.path}' does not load as {name}: {reason(error)}") from error
    file.check_fits(state, model.state_dict(), name)
    model.load_state_dict(state)


def _translated(model: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as today's open_clip names and shapes them: what its `load_checkpoint` does with a file's."""
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        ours = getattr(model, name, None)
        if name in state and ours is not None:
            state[name] = state[name].reshape(ours.shape)
    if "logit_scale" in state and getattr(model, "logit_bias", None) is not None:
        state.setdefault("logit_bias", torch.zeros_like(state["logit_scale"]))
    # Older releases of transformers saved what newer ones count.
    state.pop("text.transformer.embeddings.position_ids", None)
    return state


def _check_size(model: nn.Module, name: str, file: WeightsFile, state: Mapping[str, Tensor]) -> None:
    """Whether the weights are for pictures of the model's size: open_clip resamples without a word."""
    key = "visual.positional_embedding"
    ours, theirs = model.state_dict().get(key), state.get(key)
    if ours is not None and theirs is not None and theirs.shape != ours.shape:
        raise file.refusal(
            f"the checkpoint is not one of {name}: its {key} is {list(theirs.shape)}, the model's "
            f"{list(ours.shape)}; if it was trained on pictures of another size, give model.img_size"
        )
