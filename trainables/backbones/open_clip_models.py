"""CLIP models by their open_clip names: architectures, tags, checkpoints, folders."""

import difflib
import json
from pathlib import Path
from typing import Any

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.factory import load_checkpoint, load_state_dict
from torch import nn

from trainables.backbones import tiny_clip
from trainables.backbones.backbone import check_state, quietly, reason
from trainables.backbones.clip import ClipBackbone, Tokenizer
from trainables.errors import MissingError, ProblemError

_LOCAL_FOLDER = "local-dir:"
# How open_clip and others call the weights in such a folder, in the order of open_clip's preference.
_FOLDER_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")


def open_clip_backbone(name: str, pretrained: str, weights: bool = True) -> ClipBackbone:
    """A CLIP by its open_clip architecture name.

    Args:
        name: ``tiny-clip``, which ships with the project, or any architecture of open_clip whose image tower
            is a vision transformer.
        pretrained: ``bundled`` for tiny-clip; else one of open_clip's tags, the path of a checkpoint
            (``.pt``, ``.safetensors``), or ``local-dir:PATH``, a folder as open_clip saves it.
        weights: whether to load the weights; without them the model is random, and no file is needed.

    Raises:
        ProblemError: no such architecture or tag, or a checkpoint that does not fit.
        MissingError: the weights are not here and cannot be fetched.
    """
    if name == tiny_clip.NAME:
        tiny_clip.register()
        if pretrained == "bundled":
            model, tokenizer = tiny_clip.open_tiny_clip()
            return ClipBackbone(model, tokenizer, tiny_clip.MEAN, tiny_clip.STD)
    _check_name(name)
    if pretrained.startswith(_LOCAL_FOLDER) and weights:
        return _from_folder(name, pretrained)
    _check_pretrained(name, pretrained)
    with quietly():
        model = open_clip.create_model(name, pretrained=None)
    config = dict(open_clip.get_pretrained_cfg(name, pretrained) or model.visual.preprocess_cfg)
    if name == tiny_clip.NAME:
        config |= {"mean": tiny_clip.MEAN, "std": tiny_clip.STD}
    if weights:
        _load(model, name, _checkpoint(name, pretrained))
    return _wrapped(model, _tokenizer(name), config)


def _wrapped(model: Any, tokenizer: Tokenizer, config: dict[str, Any]) -> ClipBackbone:
    model.visual.preprocess_cfg = {**model.visual.preprocess_cfg, **config}
    mean = config.get("mean", open_clip.OPENAI_DATASET_MEAN)
    return ClipBackbone(model.eval(), tokenizer, mean, config.get("std", open_clip.OPENAI_DATASET_STD))


def _tokenizer(name: str) -> Tokenizer:
    if name == tiny_clip.NAME:
        tokenizer: Tokenizer = tiny_clip.open_tokenizer()
        return tokenizer
    try:
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:
        raise MissingError(
            f"name: the tokenizer of {name} is not here and cannot be fetched: {reason(error)}"
        ) from error
    return tokenizer


def _checkpoint(name: str, pretrained: str) -> str:
    """The path of the weights, fetched once where there is a network."""
    if _is_path(pretrained):
        if not Path(pretrained).is_file():
            raise MissingError(f"pretrained: there is no file '{pretrained}'")
        return pretrained
    try:
        with quietly():
            path: str = open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, pretrained))
    except Exception as error:
        raise MissingError(
            f"pretrained: the weights '{pretrained}' of {name} are not on this machine and cannot be fetched "
            f"({reason(error)}); put the file here and give its path as model.pretrained"
        ) from error
    return path


def _load(model: nn.Module, name: str, path: str) -> None:
    try:
        load_checkpoint(model, path)
    except Exception as error:
        raise _misfit(model, name, path, error) from error


def _misfit(model: nn.Module, name: str, path: str, error: Exception) -> ProblemError:
    """What is wrong with a checkpoint that did not load, in one line."""
    try:
        theirs = convert_state_dict(model, load_state_dict(path))
        check_state(theirs, model.state_dict(), name)
    except ProblemError as misfit:
        return misfit
    except Exception as unreadable:
        return ProblemError(f"pretrained: '{path}' cannot be read as a checkpoint: {reason(unreadable)}")
    return ProblemError(f"pretrained: '{path}' does not load as {name}: {reason(error)}")


def _from_folder(name: str, pretrained: str) -> ClipBackbone:
    """A model and its configuration from a folder as open_clip saves it."""
    folder = Path(pretrained.removeprefix(_LOCAL_FOLDER))
    if not (folder / "open_clip_config.json").is_file():
        raise MissingError(f"pretrained: there is no open_clip_config.json in {folder}")
    files = [folder / file for file in _FOLDER_WEIGHTS if (folder / file).is_file()]
    if not files:
        raise MissingError(f"pretrained: there are no weights in {folder}, such as {_FOLDER_WEIGHTS[0]}")
    source = f"{_LOCAL_FOLDER}{folder}"
    try:
        config = json.loads((folder / "open_clip_config.json").read_text())
        known = {k: v for k, v in open_clip.get_model_config(name).items() if k in ("vision_cfg", "text_cfg")}
        if any(config["model_cfg"][part].get(k) != v for part in known for k, v in known[part].items()):
            raise ProblemError(f"pretrained: the model in {folder} is not a {name}")
        with quietly():
            model = open_clip.create_model(source, load_weights=False)
        tokenizer = open_clip.get_tokenizer(source)
    except ProblemError:
        raise
    except Exception as error:
        raise ProblemError(f"pretrained: {folder} does not load as {name}: {reason(error)}") from error
    _load(model, name, str(files[0]))
    if name == tiny_clip.NAME:
        tokenizer = tiny_clip.open_tokenizer()
    return _wrapped(model, tokenizer, dict(model.visual.preprocess_cfg))


def _is_path(pretrained: str) -> bool:
    suffixes = (".pt", ".pth", ".safetensors", ".bin")
    return "/" in pretrained or pretrained.startswith(_LOCAL_FOLDER) or Path(pretrained).suffix in suffixes


def _check_name(name: str) -> None:
    known = [tiny_clip.NAME, *open_clip.list_models()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; open_clip.list_models() names them"
        raise ProblemError(f"name: open_clip has no architecture '{name}'{hint}")
    config = open_clip.get_model_config(name)
    convolutional = not isinstance(config["vision_cfg"].get("layers", 0), int)
    if convolutional or "multimodal_cfg" in config:
        raise ProblemError(f"name: '{name}' is not a CLIP whose image tower is a vision transformer")


def _check_pretrained(name: str, pretrained: str) -> None:
    """A file, or a tag whose weights were trained with this architecture's activation."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    if _is_path(pretrained):
        return
    if pretrained not in tags:
        raise ProblemError(
            f"pretrained: '{pretrained}' is neither a file nor a tag of {name}; "
            f"its tags are {', '.join(tags) or 'none'}"
        )
    quick = open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu", False)
    if quick != open_clip.get_model_config(name).get("quick_gelu", False):
        other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
        raise ProblemError(f"name: the weights '{pretrained}' were trained as {other}; use that name")
