"""How a person classifies pictures with an exported model and its library alone."""

from typing import Any

from trainables.backbones import Backbone
from trainables.data.preprocessing import OpenClipPreprocessing, TimmPreprocessing
from trainables.export.head import Head

FILE = "example.py"

_TRANSFORMS = {
    "timm": 'timm.data.create_transform(**card["preprocessing"])',
    "open_clip": 'open_clip.image_transform(**card["preprocessing"], is_train=False)',
}
_FEATURES = {
    "timm": "model.forward_head(model.forward_features(pictures), pre_logits=True)",
    "open_clip": "model.encode_image(pictures)",
    "trainables.backbones": "model.encode(pictures)",
}
_EXAMPLE = '''"""Name the class of pictures: `python example.py PICTURE ...`, within this folder."""

import json
import sys

import {library}
import torch{own}
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import normalize

card, head = json.load(open("export.json", encoding="utf-8")), load_file("head.safetensors")
model = {load}.eval()
transform = {transform}
pictures = torch.stack([transform(Image.open(path).convert("RGB")) for path in sys.argv[1:]])
with torch.inference_mode():
    features = {features}
    weight, bias = head["weight"], head.get("bias")
    logits = {logits}
for path, label in zip(sys.argv[1:], logits.argmax(dim=1).tolist()):
    print(path, card["classes"][label], sep="\\t")
'''


def preprocessing_of(backbone: Backbone) -> dict[str, Any]:
    """The arguments of the library's own evaluation transform.

    These are of `timm.data.create_transform` or of `open_clip.image_transform`.
    """
    made = backbone.preprocessing
    channels = {name: getattr(backbone, name).flatten().tolist() for name in ("mean", "std")}
    match made:
        case TimmPreprocessing():
            settings = {"input_size": made.size, "crop_pct": made.crop_pct, "crop_mode": made.crop_mode}
        case OpenClipPreprocessing():
            settings = {
                "image_size": made.size,
                "resize_mode": made.resize_mode,
                "fill_color": made.fill_color,
            }
        case _:
            raise TypeError(f"{type(made).__name__} is no model's")
    return {**settings, "interpolation": made.interpolation, **channels}


def example(library: str, load: str, head: Head) -> str:
    """A script that names the classes of pictures.

    Args:
        library: that built the model.
        load: the expression that loads the model, from within the folder.
        head: of the task.
    """
    module = next(name for name in _FEATURES if load.startswith(f"{name}."))
    return _EXAMPLE.format(
        library=library,
        own="" if module == library else f"\nimport {module}",
        load=load,
        transform=_TRANSFORMS[library],
        features=_FEATURES[module],
        logits=head.formula,
    )
