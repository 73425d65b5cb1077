"""Classifying pictures with a model that was taken away."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trainables.backbones import Backbone, open_backbone
from trainables.data.pictures import upright
from trainables.errors import ProblemError
from trainables.export import adapter, peft_format, trained
from trainables.export.load import load_folder

Picture = str | Path | Image.Image | NDArray[np.uint8]
"""A file, a picture of PIL, or an array (H, W, 3) from 0 to 255."""

_FOLDER = "local-dir:"
_BATCH = 64


class Classifier:
    """A model of a folder that `export` has written.

    Attributes:
        classes: their names, in the order of the probabilities.

    Raises:
        ProblemError: the folder is none of `export`'s, or its pre-trained model cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        given = load_folder(folder, _base(folder))
        if given.head is None or given.classes is None:
            raise ProblemError(f"{folder}: it has no head of a task; give a folder that `export` has written")
        self.classes = given.classes
        self._backbone, self._head = given.backbone, given.head

    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """Probabilities (N, C) of pictures of any size, prepared as the model's library does.

        Raises:
            ProblemError: one cannot be read.
        """
        apply, found = self._backbone.preprocessing.apply, [torch.zeros(0, len(self.classes))]
        for start in range(0, len(pictures), _BATCH):
            batch = [apply(_opened(picture)) for picture in pictures[start : start + _BATCH]]
            found.append(self.of_pixels(torch.stack(batch)))
        return torch.cat(found)

    def best(self, pictures: Sequence[Picture]) -> list[tuple[float, int]]:
        """For each picture the highest probability, and the place of its class."""
        shares, places = self(pictures).max(dim=-1)
        return list(zip(shares.tolist(), places.tolist(), strict=True))

    @torch.no_grad()
    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Probabilities (N, C) of pixels (N, 3, size, size) from 0 to 255, of the model's own input size."""
        return self._head.logits(self._backbone(pixels)).softmax(dim=-1)


def _base(folder: Path) -> Backbone:
    """The model that the folder's weights belong on; a merged one brings all weights."""
    there = [file for file in (adapter.CARD_FILE, trained.EXPORT_FILE) if (folder / file).is_file()]
    if not there:
        raise ProblemError(f"{folder}: it holds no model; give a folder that `export` has written")
    model = trained.read_card(folder / there[0])["model"]
    merged = there[0] == trained.EXPORT_FILE and not (folder / peft_format.CONFIG_FILE).is_file()
    if merged and model["name"].startswith(_FOLDER):
        # The folder that the model was opened from may be gone; its configuration lies in the export.
        model = model | {"name": f"{_FOLDER}{folder}"}
    return open_backbone(**model, weights=not merged)


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, str | Path):
        try:
            return upright(picture)
        # PIL's decoders raise what they like at a damaged file.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ProblemError(f"{picture}: cannot be read as a picture: {reason}") from error
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        what = f"an array of {picture.dtype} {picture.shape}"
        raise ProblemError(f"{what} is no picture: expects uint8 (H, W, 3)")
    return Image.fromarray(picture)
