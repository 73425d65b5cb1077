"""Seeded drawings of printed letters, digits and simple shapes in named colours."""

from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from pathlib import Path
from string import ascii_uppercase

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

# Symbols are lighter than what is behind them, as chalk on a board: so the sign of an edge has a meaning.
INKS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 245),
    "yellow": (250, 230, 60),
    "orange": (255, 155, 30),
    "red": (255, 70, 60),
    "pink": (255, 150, 200),
    "violet": (180, 125, 255),
    "cyan": (70, 215, 240),
    "green": (90, 225, 90),
}
GROUNDS: dict[str, tuple[int, int, int]] = {
    "black": (15, 15, 15),
    "gray": (70, 70, 70),
    "blue": (20, 30, 120),
    "purple": (75, 15, 85),
    "brown": (85, 45, 15),
}

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = tuple(ascii_uppercase)
SHAPES: dict[str, int] = {"circle": 40, "triangle": 3, "diamond": 4, "pentagon": 5}
SYMBOLS = (*LETTERS, *DIGITS, *SHAPES)

FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmb10",
    "cmr10",
    "cmtt10",
)
HELD_OUT_FONTS = ("DejaVuSansMono-Bold", "DejaVuSerif-Italic", "STIXGeneralBol", "cmss10")

_CANVAS = 64  # side of a stencil, px
_BODY = 44  # height and greatest width of the symbol in it, px
_COARSE = 8  # side of a low-resolution scan, px


@dataclass(frozen=True)
class Style:
    """How far drawings stray from the stencil; every range is sampled evenly around its middle.

    Attributes:
        rotation: largest angle either way, degrees.
        scale: smallest and largest size, relative to the stencil.
        shift: largest move either way, as a share of half the image.
        shear: largest horizontal shear either way, as a slope.
        noise: largest standard deviation of the pixel noise, of 1.
        coarse: share of the images that look like a low-resolution scan.
    """

    rotation: float = 12.0
    scale: tuple[float, float] = (0.8, 1.3)
    shift: float = 0.12
    shear: float = 0.0
    noise: float = 0.05
    coarse: float = 0.0


@dataclass(frozen=True)
class Drawings:
    """Drawings and what is on them.

    Attributes:
        pixels: (N, 3, H, W), uint8.
        symbols: (N,), int64, indices into ``SYMBOLS``.
        inks: (N,), int64, colours of the symbols, indices into ``INKS``.
        grounds: (N,), int64, colours of the backgrounds, indices into ``GROUNDS``.
    """

    pixels: Tensor
    symbols: Tensor
    inks: Tensor
    grounds: Tensor


def draw(symbols: Tensor, fonts: tuple[str, ...], style: Style, image_size: int, rng: Generator) -> Drawings:
    """Draw one image a symbol, each in a font, colours and a pose drawn from ``rng``.

    Args:
        symbols: (N,), int64, indices into ``SYMBOLS``.
        image_size: side of the images, px.
    """
    count = len(symbols)
    ink = torch.randint(len(INKS), (count,), generator=rng)
    ground = torch.randint(len(GROUNDS), (count,), generator=rng)
    chosen = torch.randint(len(fonts), (count,), generator=rng)
    coverage = _pose(stencils(fonts)[symbols, chosen], style, image_size, rng)
    paint, paper = _tinted(INKS, ink, rng), _tinted(GROUNDS, ground, rng)
    image = paper + coverage * (paint - paper)
    image = _scanned(image, style.coarse, rng)
    strength = _between(0, style.noise, count, rng).view(-1, 1, 1, 1)
    image = image + strength * torch.randn(image.shape, generator=rng)
    return Drawings(to_bytes(image), symbols, ink, ground)


def to_bytes(image: Tensor) -> Tensor:
    """Turn values in [0, 1] into uint8, cutting off what lies outside."""
    return image.mul(255).round().clamp(0, 255).to(torch.uint8)


@cache
def stencils(fonts: tuple[str, ...]) -> Tensor:
    """Give the coverage of every symbol in every font: (symbols, fonts, 64, 64), float in [0, 1]."""
    characters = (*LETTERS, *"0123456789")
    printed = [[_printed(character, font) for font in fonts] for character in characters]
    shapes = [[_polygon(corners)] * len(fonts) for corners in SHAPES.values()]
    return torch.from_numpy(np.array(printed + shapes, dtype=np.float32) / 255)


def _printed(character: str, font: str) -> Image.Image:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    face = ImageFont.truetype(str(folder / f"{font}.ttf"), 2 * _CANVAS)
    large = Image.new("L", (4 * _CANVAS, 4 * _CANVAS))
    ImageDraw.Draw(large).text((_CANVAS, _CANVAS), character, fill=255, font=face)
    return _centred(large)


def _polygon(corners: int) -> Image.Image:
    large = Image.new("L", (4 * _CANVAS, 4 * _CANVAS))
    middle, radius = 2 * _CANVAS, 1.5 * _CANVAS
    turns = [2 * pi * corner / corners for corner in range(corners)]
    points = [(middle + radius * sin(turn), middle - radius * cos(turn)) for turn in turns]
    ImageDraw.Draw(large).polygon(points, fill=255)
    return _centred(large)


def _centred(large: Image.Image) -> Image.Image:
    """Cut the ink out and put it, at the size of the body, in the middle of a canvas."""
    ink = large.crop(large.getbbox())
    ratio = _BODY / max(ink.size)
    ink = ink.resize((max(1, round(ink.width * ratio)), max(1, round(ink.height * ratio))))
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    canvas.paste(ink, ((_CANVAS - ink.width) // 2, (_CANVAS - ink.height) // 2))
    return canvas


def _pose(stencil: Tensor, style: Style, image_size: int, rng: Generator) -> Tensor:
    """Rotate, scale, shear and shift stencils (N, 64, 64) into images (N, 1, H, W)."""
    count = len(stencil)
    angle = _between(-style.rotation, style.rotation, count, rng) * pi / 180
    size = _between(*style.scale, count, rng)
    slope = _between(-style.shear, style.shear, count, rng)
    across, down = (_between(-style.shift, style.shift, count, rng) for _ in range(2))
    cosine, sine = angle.cos() / size, angle.sin() / size
    rows = [cosine, slope * cosine - sine, across, sine, slope * sine + cosine, down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), [count, 1, image_size, image_size], False)
    return F.grid_sample(stencil.unsqueeze(1), grid, align_corners=False)


def _tinted(colours: dict[str, tuple[int, int, int]], chosen: Tensor, rng: Generator) -> Tensor:
    """Give colours (N, 3, 1, 1), each a little off, so that a name covers a range of them."""
    named = torch.tensor(list(colours.values()))[chosen] / 255
    return (named + 0.05 * torch.randn(named.shape, generator=rng)).clamp(0, 1).view(-1, 3, 1, 1)


def _scanned(image: Tensor, share: float, rng: Generator) -> Tensor:
    """Bring a share of the images down to a low resolution and smoothly up again."""
    coarse = F.interpolate(F.adaptive_avg_pool2d(image, _COARSE), size=image.shape[-2:], mode="bicubic")
    chosen = torch.rand(len(image), generator=rng) < share
    return torch.where(chosen.view(-1, 1, 1, 1), coarse, image)


def _between(low: float, high: float, count: int, rng: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=rng)
