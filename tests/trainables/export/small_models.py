"""Models and pictures small enough to train in a test, and how their libraries take them."""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor

from search_spaces import Model
from trainables.data import ImageSet
from trainables.export import Trained

CLIP_NAME = "random-clip"
CLIP_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 646, "width": 16, "heads": 2, "layers": 1},
}
MODELS = {
    "clip": Model(library="open_clip", name=CLIP_NAME, pretrained="random.safetensors"),
    "vit": Model(library="timm", name="random-vit", pretrained="random.safetensors"),
}


def new_vit() -> VisionTransformer:
    """The architecture as timm builds it."""
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5, weight_init="jax"
    )
    vit.pretrained_cfg = {"input_size": (3, 16, 16)}
    return vit.eval()


def random_images(count: int, generator: Generator) -> ImageSet:
    pixels = torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 3)


def normalised(trained: Trained, pixels: Tensor) -> Tensor:
    """The pictures as the library's model is given them."""
    backbone = trained.training.problem.backbone
    return (pixels.float() / 255 - backbone.mean) / backbone.std
