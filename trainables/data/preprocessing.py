"""How a picture becomes the input of a model: its library's own evaluation transform, up to normalisation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import timm.data
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, InterpolationMode, PILToTensor
from torchvision.transforms.v2 import functional

from trainables.errors import ProblemError

Transform = Callable[[Image.Image], Tensor]
"""From an RGB picture to (3, size, size), uint8."""


class Preprocessing(ABC):
    """How a model wants to see a picture.

    Attributes:
        size: side of the square input, px.
        channels_last: whether a pixel's channels lie side by side in memory, as torchvision cuts fastest.
    """

    channels_last: ClassVar[bool] = False
    size: int

    @abstractmethod
    def transform(self) -> Transform:
        """The library's evaluation transform without its normalisation, built anew."""

    def apply(self, picture: Image.Image) -> Tensor:
        """A picture as the library shows it to the model: (3, size, size), uint8."""
        return _transform(self)(picture.convert("RGB"))


# The transforms are no part of the settings: these are compared, pickled and fingerprinted.
@lru_cache
def _transform(preprocessing: Preprocessing) -> Transform:
    return preprocessing.transform()


@dataclass(frozen=True)
class Whole(Preprocessing):
    """A picture that is still to be cut: as it is, or if it is larger, brought down to a shorter side.

    Attributes:
        size: the largest shorter side, px.
    """

    channels_last: ClassVar[bool] = True
    size: int

    def transform(self) -> Transform:
        """(3, H, W) in place of a square."""
        return self._brought_down

    def _brought_down(self, picture: Image.Image) -> Tensor:
        if min(picture.size) > self.size:
            picture = functional.resize(picture, [self.size], InterpolationMode.BICUBIC)
        pixels: Tensor = functional.pil_to_tensor(picture)
        return pixels


@dataclass(frozen=True)
class TimmPreprocessing(Preprocessing):
    """`timm.data.create_transform`, under the names of `timm.data.resolve_data_config`.

    Attributes:
        mean: of the channels, of 1; the colour of a border.
    """

    size: int
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    crop_pct: float = 1.0
    crop_mode: str = "center"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """The settings of a resolved data configuration of timm.

        Raises:
            ProblemError: the model sees pictures that are not square, or not in colour.
        """
        channels, height, width = config["input_size"]
        if channels != 3 or height != width:
            raise ProblemError(
                f"name: the model sees {channels} channels of {height} x {width} px; "
                "use one for square pictures in colour"
            )
        rest = (config["interpolation"], tuple(config["mean"]), config["crop_pct"], config["crop_mode"])
        return cls(height, *rest)

    def transform(self) -> Transform:
        """`timm.data.create_transform` for evaluation."""
        transform: Transform = timm.data.create_transform(
            self.size,
            interpolation=self.interpolation,
            mean=self.mean,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            normalize=False,
        )
        return transform


@dataclass(frozen=True)
class OpenClipPreprocessing(Preprocessing):
    """`open_clip.image_transform`, under the names of its `PreprocessCfg`."""

    size: int
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """The settings of a preprocessing configuration of open_clip.

        Raises:
            ProblemError: the model sees pictures that are not square.
        """
        size = config["size"]
        height, width = size if isinstance(size, list | tuple) else (size, size)
        if height != width:
            raise ProblemError(
                f"name: the model sees pictures of {height} x {width} px; use one for square pictures"
            )
        return cls(height, config["interpolation"], config["resize_mode"], config["fill_color"])

    def transform(self) -> Transform:
        """`open_clip.image_transform` for evaluation; its last two steps scale to 0..1 and normalise."""
        from open_clip import image_transform

        whole = image_transform(
            self.size,
            is_train=False,
            interpolation=self.interpolation,
            resize_mode=self.resize_mode,
            fill_color=self.fill_color,
        )
        transform: Transform = Compose([*whole.transforms[:-2], PILToTensor()])
        return transform
