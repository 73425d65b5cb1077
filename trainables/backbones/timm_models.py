"""Vision transformers by their timm names: architectures, tags, checkpoints, folders."""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import timm
import torch
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg
from torch import Tensor

from trainables.backbones import tiny_dino
from trainables.backbones.backbone import quietly, reason
from trainables.backbones.checkpoints import WeightsFile
from trainables.backbones.timm_vit import TimmBackbone
from trainables.errors import MissingError, ProblemError

_HUB = "hub"
_BUNDLED = "bundled"
_ELSEWHERE = ("hf-hub:", "local-dir:")


def open_timm_backbone(
    name: str,
    pretrained: str = _BUNDLED,
    file: WeightsFile | None = None,
    img_size: int | None = None,
    weights: bool = True,
) -> TimmBackbone:
    """A vision transformer by its timm name.

    Args:
        name: ``tiny-dino``, which ships with the project; a timm architecture, with the tag of its weights
            (``vit_base_patch16_224.dino``), which also says how pictures are prepared; or
            ``hf-hub:ORG/NAME`` or ``local-dir:PATH``, a model with its configuration, as timm saves it.
        pretrained: ``bundled`` for what comes with the name (tiny-dino, a folder), ``hub`` to fetch the
            tag's, or the tag, where the name has none.
        file: the weights, in place of the tag's.
        img_size: side of the pictures, px; None for the tag's. Position embeddings are resampled to it.
        weights: whether to load the weights; without them the model is random, and no file is needed.

    Raises:
        ProblemError: no such architecture, or a checkpoint that does not fit.
        MissingError: the weights are not here and cannot be fetched.
    """
    if name == tiny_dino.NAME and img_size is not None:
        raise ProblemError(f"img_size: {name} sees {tiny_dino.IMAGE_SIZE} px; leave it out")
    tagged = _tagged(name, pretrained)
    if file is None and pretrained == _BUNDLED and name != tiny_dino.NAME and not name.startswith(_ELSEWHERE):
        raise ProblemError(f"pretrained: {name} has no bundled weights; give a file's path, or 'hub'")
    if file is not None:
        _check_tag(tagged, file)
    options = {} if img_size is None else {"img_size": img_size}
    if not weights:
        vit = _built(tagged, options)
    elif file is not None:
        vit = _from_file(tagged, file, options)
    elif name == tiny_dino.NAME:
        vit = tiny_dino.open_tiny_dino()
    else:
        vit = _fetched(tagged, options)
    return TimmBackbone(vit, resolve_data_config(options, model=vit))


def _tagged(name: str, pretrained: str) -> str:
    """The name with its tag.

    Raises:
        ProblemError: there is no such name or tag, or nothing says where the weights are.
    """
    if name.startswith(_ELSEWHERE):
        if pretrained != _BUNDLED:
            raise ProblemError(f"pretrained: the weights come with {name}; leave it out, or give a file")
        return name
    if name != tiny_dino.NAME:
        _check_name(name)
    if pretrained in (_BUNDLED, _HUB):
        return name
    architecture, _, tag = name.partition(".")
    tags = _tags(architecture)
    if pretrained not in tags or tag not in ("", pretrained):
        raise ProblemError(
            f"pretrained: '{pretrained}' is neither a file, nor 'hub', nor a tag of {name}; its tags are "
            f"{', '.join(tags) or 'none'}"
        )
    return f"{architecture}.{pretrained}"


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; timm.list_models() names them"
        raise ProblemError(f"name: timm has no architecture '{name}'{hint}")
    if tag and tag not in _tags(architecture):
        raise ProblemError(
            f"name: {architecture} has no weights '{tag}' in timm; it has {', '.join(_tags(architecture))}"
        )


def _tags(architecture: str) -> list[str]:
    return [known.partition(".")[2] for known in timm.list_pretrained(architecture)]


def _check_tag(name: str, file: WeightsFile) -> None:
    """Whether the name says how a file's pictures are prepared.

    Raises:
        ProblemError: it has no tag, and those of the architecture differ.
    """
    if "." in name or name.startswith(_ELSEWHERE) or name == tiny_dino.NAME:
        return
    views: dict[str, list[str]] = defaultdict(list)
    for tag in _tags(name):
        config = resolve_data_config(pretrained_cfg=get_pretrained_cfg(f"{name}.{tag}").to_dict())
        views[str(sorted(config.items()))].append(tag)
    if len(views) > 1:
        groups = "; or ".join(", ".join(tags) for tags in views.values())
        raise file.refusal(
            f"'{file.path}' could be any of the weights of {name}, which do not see pictures in one way; "
            "write the "
            f"tag that it goes by in model.name, such as {name}.{_tags(name)[0]}. Its tags: {groups}"
        )


def _built(name: str, options: dict[str, Any]) -> Any:
    """The architecture with random weights."""
    if name == tiny_dino.NAME:
        return tiny_dino.open_tiny_dino(pretrained=False)
    try:
        with quietly():
            return timm.create_model(name, **options)
    except Exception as error:
        if name.startswith("hf-hub:"):
            raise MissingError(
                f"name: {name} is not on this machine and cannot be fetched ({reason(error)})"
            ) from error
        raise ProblemError(f"name: {name} cannot be built{_with(options)}: {reason(error)}") from error


def _with(options: dict[str, Any]) -> str:
    return f" at img_size {options['img_size']}" if "img_size" in options else ""


def _fetched(name: str, options: dict[str, Any]) -> Any:
    """The model with the weights that timm has for it."""
    try:
        with quietly():
            return timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        # What cannot even be built is told as that.
        _built(name, options)
        if name.startswith("local-dir:"):
            raise ProblemError(f"name: {name} does not load: {reason(error)}") from error
        raise MissingError(
            f"pretrained: the weights of {name} are not on this machine and cannot be fetched "
            f"({reason(error)}); put the file here and give its path as model.file"
        ) from error


def _from_file(name: str, file: WeightsFile, options: dict[str, Any]) -> Any:
    """The model with a file's weights, by timm's own translation of other names.

    Its classifier is the file's: one for other classes than the tag's, or none.
    """
    if file.is_archive and name != tiny_dino.NAME:
        return _from_archive(name, file, options)
    state = file.state()
    vit = _built(name, options)
    _check_size(name, file, state, vit, options)
    try:
        if name == tiny_dino.NAME:
            vit.load_state_dict(state)
            return vit
        head = state.get(f"{_classifier(vit)}.weight")
        # A file with other names than timm's may have the tag's classifier, or none.
        counts = [0, vit.num_classes] if head is None else [len(head)]
        return _translated(name, state, counts, options)
    except Exception as error:
        file.check_fits(state, vit.state_dict(), name)
        raise file.refusal(f"'{file.path}' does not load as {name}: {reason(error)}") from error


def _from_archive(name: str, file: WeightsFile, options: dict[str, Any]) -> Any:
    """The model with the weights of a JAX model, as timm itself translates them."""
    file.check()
    try:
        with np.load(file.path) as arrays:
            found = {key.removeprefix("opt/target/").removeprefix("params/"): arrays[key] for key in arrays}
        classes = len(found.get("head/bias", ()))
        vit = _built(name, {**options, "num_classes": classes})
        positions = found.get("pos_embedding", found.get("Transformer/posembed_input/pos_embedding"))
        patches = torch.from_numpy(found["embedding/kernel"].transpose(3, 2, 0, 1))
        sizes = {"patch_embed.proj.weight": patches, "pos_embed": torch.from_numpy(positions)}
        _check_size(name, file, sizes, vit, options)
        with torch.no_grad():
            for parameter in vit.parameters():
                parameter.fill_(torch.nan)
        vit.load_pretrained(file.path)
    except ProblemError:
        raise
    except Exception as error:
        raise file.refusal(f"'{file.path}' does not load as {name}: {reason(error)}") from error
    # timm says nothing of weights that it has not found in the file, nor of further layers there.
    if lacking := [key for key, parameter in vit.named_parameters() if parameter.isnan().any()]:
        raise file.refusal(f"the checkpoint is not one of {name}: it lacks {lacking[0]}")
    if f"Transformer/encoderblock_{len(vit.blocks)}/LayerNorm_0/bias" in found:
        raise file.refusal(f"the checkpoint is not one of {name}: it has more layers than {len(vit.blocks)}")
    return vit


def _translated(name: str, state: dict[str, Tensor], counts: Sequence[int], options: dict[str, Any]) -> Any:
    """The model with a state and the first number of classes that it fits with."""
    for count in counts:
        overlay = {"state_dict": dict(state), "num_classes": count}
        try:
            with quietly():
                vit = timm.create_model(
                    name, pretrained=True, num_classes=count, pretrained_cfg_overlay=overlay, **options
                )
        except Exception:
            if count == counts[-1]:
                raise
            continue
        # Else the model would carry its weights twice.
        del vit.pretrained_cfg["state_dict"]
        return vit
    raise AssertionError("there is a last count")


def _classifier(vit: Any) -> str:
    """The name of the model's classifier, also of one that has no classes."""
    head = vit.get_classifier()
    head = head[0] if isinstance(head, tuple | list) else head
    return next((name for name, module in vit.named_modules() if module is head), "head")


def _check_size(
    name: str, file: WeightsFile, state: Mapping[str, Tensor], vit: Any, options: Mapping[str, Any]
) -> None:
    """Whether a file's weights are for pictures and patches of the model's size, where none was asked for.

    timm would resample them without a word.
    """
    if options:
        return
    ours = vit.state_dict()
    for key in ("patch_embed.proj.weight", "pos_embed"):
        if key not in state or key not in ours:
            continue
        # Positions count the class and register tokens or not.
        place, slack = (1, getattr(vit, "num_prefix_tokens", 0) + 1) if key == "pos_embed" else (2, 0)
        theirs, expected = state[key].shape[place], ours[key].shape[place]
        if abs(theirs - expected) > slack:
            hint = "; if its pictures had another size, give model.img_size" if key == "pos_embed" else ""
            raise file.refusal(
                f"'{file.path}' is not one of {name}: its {key} is {list(state[key].shape)}, the model's "
                f"{list(ours[key].shape)}{hint}"
            )
