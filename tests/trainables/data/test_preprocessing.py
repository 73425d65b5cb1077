"""A model sees what its library shows it: for every set of weights that timm and open_clip list."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from timm.models import get_pretrained_cfg
from torch import Tensor

from trainables.backbones.open_clip_models import VIEW
from trainables.data import OpenClipPreprocessing, Preprocessing, TimmPreprocessing

SHAPES = [(97, 61), (61, 143), (80, 80)]
# Modules of timm with vision transformers, whose layers a sweep might adapt.
FAMILIES = (
    "vision_transformer",
    "eva",
    "deit",
    "beit",
    "vision_transformer_relpos",
    "vision_transformer_sam",
)


@cache
def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8), mode="RGB"
    )


def check(preprocessing: Preprocessing, theirs: Callable[[Any], Tensor], mean: Any, std: Any) -> None:
    for shape in SHAPES:
        given = preprocessing.apply(picture(*shape))
        expected = theirs(picture(*shape)) * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(
            3, 1, 1
        )
        assert given.dtype == torch.uint8 and given.shape == expected.shape
        assert (given - 255 * expected).abs().max() <= 1


def distinct(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({str(sorted(config.items())): config for config in configs}.values())


def timm_configs() -> list[dict[str, Any]]:
    modules = timm.models._registry._model_to_module
    names = [name for name in timm.list_pretrained() if modules[name.partition(".")[0]] in FAMILIES]
    configs = [
        timm.data.resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict()) for name in names
    ]
    assert len(configs) > 400
    return [config for config in distinct(configs) if config["input_size"][1] == config["input_size"][2]]


def test_every_vision_transformer_of_timm_sees_what_timm_shows_it() -> None:
    configs = timm_configs()
    assert {config["crop_mode"] for config in configs} >= {"center", "squash"}
    for config in configs:
        theirs = timm.data.create_transform(**config, is_training=False)
        check(TimmPreprocessing.of(config), theirs, config["mean"], config["std"])


def test_every_clip_of_open_clip_sees_what_open_clip_shows_it() -> None:
    configs = []
    for name, tag in open_clip.list_pretrained():
        size = open_clip.get_model_config(name)["vision_cfg"].get("image_size", 224)
        configs.append(merge_preprocess_dict(PreprocessCfg(size), open_clip.get_pretrained_cfg(name, tag)))
    assert len(configs) > 150
    assert {config["resize_mode"] for config in configs} >= {"shortest", "squash"}
    # No tag says so, but a person's own configuration may.
    configs.append({**configs[0], "resize_mode": "longest", "fill_color": 9})
    for config in distinct(configs):
        theirs = image_transform_v2(PreprocessCfg(**config), is_train=False)
        check(OpenClipPreprocessing.of(config), theirs, config["mean"], config["std"])
    assert set(VIEW) == set(configs[0]) - {"size", "mode", "fill_color"}


@pytest.mark.parametrize("preprocessing", [TimmPreprocessing(8), OpenClipPreprocessing(8)])
def test_grey_and_transparent_pictures_become_rgb(preprocessing: Preprocessing) -> None:
    assert preprocessing.apply(Image.new("L", (8, 8), 77)).unique().tolist() == [77]
    transparent = Image.new("RGBA", (8, 8), (1, 2, 3, 0))
    assert preprocessing.apply(transparent)[:, 0, 0].tolist() == [1, 2, 3]
