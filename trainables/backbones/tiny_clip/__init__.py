"""tiny-clip: a CLIP of open_clip's own class, small enough to ship, that knows letters and colours.

``python -m tools.tiny_clip.train`` draws its images, trains it again and writes its weights.
"""

from pathlib import Path

import open_clip
from open_clip.tokenizer import SimpleTokenizer

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "weights.safetensors"
MERGES = FOLDER / "merges.txt.gz"
FIGURES = FOLDER / "figures.json"

NAME = "tiny-clip"
IMAGE_SIZE = 32  # px
CONTEXT_LENGTH = 12  # tokens
MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)


def open_tiny_clip(pretrained: bool = True) -> tuple[open_clip.CLIP, SimpleTokenizer]:
    """Open the model, in evaluation mode, and its tokenizer; neither touches the network.

    The model takes (N, 3, 32, 32) images with values in [0, 1], normalised by ``MEAN`` and ``STD``, and
    (N, 12) tokens; both become (N, 64) embeddings.

    Args:
        pretrained: with the weights that ship; otherwise as initialised from torch's random state.
    """
    register()
    model = open_clip.create_model(
        NAME,
        pretrained=str(WEIGHTS) if pretrained else None,
        force_preprocess_cfg={"mean": MEAN, "std": STD},
    )
    return model.eval(), open_tokenizer()


def open_tokenizer() -> SimpleTokenizer:
    """Words to 12 tokens."""
    return SimpleTokenizer(bpe_path=str(MERGES), context_length=CONTEXT_LENGTH)


def register() -> None:
    """Make the name known to open_clip, which looks through all its configurations each time it is told."""
    if NAME not in open_clip.list_models():
        open_clip.add_model_config(FOLDER / f"{NAME}.json")


__all__ = [
    "FIGURES",
    "FOLDER",
    "IMAGE_SIZE",
    "MEAN",
    "MERGES",
    "NAME",
    "STD",
    "WEIGHTS",
    "open_tiny_clip",
    "open_tokenizer",
    "register",
]
