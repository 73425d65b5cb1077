"""The whole model with the update in its weights, for the library that built it."""

import shutil
from pathlib import Path

import open_clip
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import load_file

from trainables.backbones import Backbone, ClipBackbone, library_name, tiny_clip, tiny_dino
from trainables.errors import ProblemError
from trainables.export import head as heads
from trainables.export.example import FILE as EXAMPLE_FILE
from trainables.export.example import example, preprocessing_of
from trainables.export.given import Given
from trainables.export.head import Head
from trainables.export.library import with_state
from trainables.export.trained import EXPORT_FILE, Trained, read_card, save_card, save_tensors
from trainables.methods import BlockExpansion

MODEL_FILE = "model.safetensors"
# As open_clip looks for it in a folder that is named by `local-dir:`.
_OPEN_CLIP_FILE = "open_clip_config.json"
_FOLDER = "local-dir:"
_HERE = "."


def write_merged(trained: Trained, folder: Path) -> None:
    """Writes ``model.safetensors``, ``head.safetensors``, ``export.json`` and ``example.py``.

    The model is the library's own, weight by weight, and costs what the pre-trained one costs. Its own
    classifier, if it has one, is as pre-trained; the new task's head is apart, and the card names its classes
    and the library's preprocessing. The example puts them together by the library alone. A CLIP's folder can
    be named in a space: ``model: {library: open_clip, name: local-dir:FOLDER}``.

    Raises:
        ProblemError: the method has added layers.
    """
    if isinstance(trained.method, BlockExpansion):
        raise ProblemError(
            "format: block_expansion has added layers, which the architecture has not; use adapter"
        )
    merged = trained.method.merged(0)
    save_tensors(merged.plain_state(), folder / MODEL_FILE)
    save_tensors(trained.head.tensors(), folder / heads.FILE)
    if isinstance(merged, ClipBackbone):
        _save_open_clip_config(trained, merged, folder)
    elif (name := library_name(trained.model.name)).startswith(_FOLDER):
        shutil.copyfile(Path(name.removeprefix(_FOLDER), "config.json"), folder / "config.json")
    load = _load_line(trained)
    card = {**trained.card(load), "preprocessing": preprocessing_of(merged)}
    save_card(card, folder / EXPORT_FILE)
    (folder / EXAMPLE_FILE).write_text(example(trained.model.library, load, trained.head), encoding="utf-8")


def _save_open_clip_config(trained: Trained, clip: ClipBackbone, folder: Path) -> None:
    name = library_name(trained.model.name)
    config = open_clip.get_model_config(name)
    config["vision_cfg"]["image_size"] = clip.preprocessing.size
    if isinstance(clip.tokenizer, HFTokenizer):
        clip.tokenizer.tokenizer.save_pretrained(folder)
    text = config["text_cfg"]
    if "hf_model_name" in text and Path(name.removeprefix(_FOLDER), text["hf_model_name"]).is_dir():
        # No name of the hub, but a place on this machine: the export is to be whole wherever it is moved.
        clip.clip.text.config.save_pretrained(folder)
        text |= {"hf_model_name": _HERE, "hf_tokenizer_name": _HERE}
    described = {"model_cfg": config, "preprocess_cfg": clip.clip.visual.preprocess_cfg}
    save_card(described, folder / _OPEN_CLIP_FILE)


def _load_line(trained: Trained) -> str:
    library, name = trained.model.library, trained.model.name
    if name in (tiny_clip.NAME, tiny_dino.NAME):
        model = {"library": library, "name": name, "pretrained": MODEL_FILE}
        return f"trainables.backbones.open_backbone(**{model})"
    file, option = (
        ("pretrained", "force_image_size") if library == "open_clip" else ("checkpoint_path", "img_size")
    )
    place = _FOLDER + _HERE if name.startswith(_FOLDER) else name
    size = trained.model.img_size
    also = "" if size is None else f", {option}={size}"
    return f"{library}.create_model({place!r}, {file}={MODEL_FILE!r}{also})"


def load_merged(folder: Path, backbone: Backbone) -> Given:
    """The model that `write_merged` has written.

    Args:
        folder: where it is.
        backbone: one of the same architecture, with any weights; it is not changed.

    Raises:
        ProblemError: the model is of another architecture, or of another version.
    """
    card = read_card(folder / EXPORT_FILE)
    model = with_state(backbone, load_file(folder / MODEL_FILE), "the space's model")
    return Given(model, Head.from_tensors(load_file(folder / heads.FILE)), tuple(card["classes"]))
