"""tiny-dino: a Vision Transformer of timm's own class, small enough to ship, that learned without labels.

``python -m tools.tiny_dino.train`` draws its images, trains it again and writes its weights.
It tells symbols apart and hardly their colours, which differ between two views of one image.
"""

from pathlib import Path

from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "weights.safetensors"
FIGURES = FOLDER / "figures.json"

NAME = "tiny-dino"
IMAGE_SIZE = 32  # px
MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)


def open_tiny_dino(pretrained: bool = True) -> VisionTransformer:
    """Open the model, in evaluation mode; nothing touches the network.

    The model takes (N, 3, 32, 32) images with values in [0, 1], normalised by ``MEAN`` and ``STD``; they
    become (N, 64) features, those of the class token. It has no classifier.

    Args:
        pretrained: with the weights that ship; otherwise as initialised from torch's random state.
    """
    model = VisionTransformer(
        img_size=IMAGE_SIZE,
        patch_size=8,
        embed_dim=64,
        depth=8,
        num_heads=4,
        num_classes=0,
        weight_init="jax",  # scaled to the width; timm's default suits ten times this one
    )
    # What timm.data.resolve_model_data_config reads.
    model.pretrained_cfg = {
        "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
        "mean": MEAN,
        "std": STD,
        "crop_pct": 1.0,
        "interpolation": "bicubic",
    }
    if pretrained:
        model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


__all__ = ["FIGURES", "FOLDER", "IMAGE_SIZE", "MEAN", "NAME", "STD", "WEIGHTS", "open_tiny_dino"]
