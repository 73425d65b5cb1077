"""A space file to begin with, for a person's own model and folder of pictures."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

import open_clip
import timm
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from search_spaces import SelectiveLora, Source
from sweeper.errors import UserError
from trainables.backbones import open_backbone
from trainables.backbones.tiny_clip import NAME as TINY_CLIP
from trainables.backbones.tiny_dino import NAME as TINY_DINO
from trainables.data.folder import FolderSet, open_folder
from trainables.data.names import class_names, is_named
from trainables.data.splits import SPLITS, parts, refuse_empty, rows_of
from trainables.errors import at
from trainables.methods import candidate_blocks

_UNREAD = " pictures by their names, not read yet"
_SHARE = 16  # of so many blocks one is in the budget
_WEIGHTS = ("laion2b", "openai")  # the weights of a CLIP that are taken, where it has them


def write_space(model: str, pretrained: str | None, data: Path, to: Path | None) -> str:
    """Writes a commented space for a model and a folder; what there is to say.

    Args:
        model: a name of open_clip or timm.
        pretrained: a tag of open_clip; None for a usual one.
        data: a folder of class folders, or of splits with class folders in them.
        to: the file; None for one in the working folder that is named after the data.

    Raises:
        UserError: no library has the model, or the file is there.
        ProblemError: the model cannot be adapted, or it is not clear what the folder holds.
    """
    settings = _model(model, pretrained)
    with at("--model"):
        backbone = open_backbone(
            settings["library"], settings["name"], settings.get("pretrained", "bundled"), weights=False
        )
    source = Source(source="folder", path=str(data))
    with at("--data"):
        found = open_folder(source)
        sizes = _sizes(found)
    file = to or Path(f"{source.label}.yaml")
    if file.exists():
        raise UserError(f"{file}: it is there already; give another file by --to")
    blocks = len(candidate_blocks(backbone, SelectiveLora(name="selective_lora")))
    score = "zero_shot" if backbone.reads_text else "knn"
    named = is_named(source, class_names(source, found.classes))
    own = None if model in (TINY_CLIP, TINY_DINO) else "head" if backbone.classifier is not None else score
    file.write_text(
        _environment()
        .get_template("init.yaml.jinja")
        .render(
            classes=len(found.classes),
            path=data,
            sizes=sizes,
            file=file,
            name=source.label,
            model=", ".join(f"{key}: {json.dumps(value)}" for key, value in settings.items()),
            tags=_other_tags(settings),
            quoted=json.dumps(str(data)),
            probe=_probe(settings["name"], score),
            own=own,
            unnamed=backbone.reads_text and not named,
            budget=max(1, blocks // _SHARE),
            blocks=blocks,
            prompts=backbone.reads_text and named,
            gpus=int(torch.cuda.is_available()),
        )
    )
    return (
        f"{file}: {len(found.classes)} classes, {sizes}; look it over, then\n"
        f"  python -m sweeper validate {file}\n  python -m sweeper run {file}"
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _model(name: str, pretrained: str | None) -> dict[str, str]:
    """The section ``model`` for a name that open_clip or timm has."""
    if name in (TINY_CLIP, TINY_DINO):
        return {"library": "open_clip" if name == TINY_CLIP else "timm", "name": name}
    clips = open_clip.list_models()
    if name in clips:
        return {"library": "open_clip", "name": name, "pretrained": pretrained or _usual(name)}
    if timm.is_model(name):
        return {"library": "timm", "name": name, "pretrained": pretrained or "hub"}
    near = difflib.get_close_matches(name, [*clips, *timm.list_models(), TINY_CLIP, TINY_DINO], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise UserError(f"--model {name}: neither open_clip nor timm has an architecture of that name{hint}")


def _usual(name: str) -> str:
    tags = _tags(name)
    if not tags:
        raise UserError(f"--model {name}: open_clip has no weights for it; name an architecture that has")
    return next((tag for usual in _WEIGHTS for tag in reversed(tags) if tag.startswith(usual)), tags[-1])


def _tags(name: str) -> list[str]:
    """The tags of an architecture that were trained with its activation."""
    quick = open_clip.get_model_config(name).get("quick_gelu", False)
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    return [t for t in tags if open_clip.get_pretrained_cfg(name, t).get("quick_gelu", False) == quick]


def _other_tags(model: Mapping[str, str]) -> str:
    """Other weights that the model could have, in a line."""
    if model["library"] != "open_clip" or "pretrained" not in model:
        return ""
    return ", ".join(tag for tag in _tags(model["name"]) if tag != model["pretrained"])


def _sizes(found: FolderSet) -> str:
    """How many pictures each split has, without reading them, which takes long. None may be empty."""
    taken = parts(found.split_names, None, whole_test=False)
    listed = {part.split: found.listed(part.split).labels for part in taken.values()}
    counts = {split: len(rows_of(part, listed[part.split], seed=0)) for split, part in taken.items()}
    for split, count in counts.items():
        refuse_empty(split, count)
    return ", ".join(f"{split} {counts[split]}" for split in SPLITS if split in counts) + _UNREAD


def _probe(name: str, score: str) -> str:
    """What the model is to remember: letters, which the models that ship know, or a set that is fetched."""
    if name in (TINY_CLIP, TINY_DINO):
        return f"{{source: glyphs, score: {score}}}"
    fetched = "dataset: CIFAR100, path: data, download: true"
    return f"{{source: torchvision, {fetched}, limit: 2000, score: {score}}}   # 170 MB"
