"""From what a picture file holds to eight bits of red, green and blue, as torchvision's loader gives them."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainables.errors import ProblemError

ODD = "odd"
"""Where `as_rgb` writes of a picture what its owner may not expect: `INKLESS` or `DARK`, and its name."""

INKLESS = (
    "are drawn in their alpha channel over one colour, and a model reads red, green and blue alone; put them "
    "on a background"
)
DARK = (
    "use a sixteenth of their 16 bits or less, and are nearly black as white is 65535; if their values are "
    "of 8 or 12 bits, save them with 8 bits a channel"
)

_FAINT = 8  # levels of 255
_TWELVE_BITS = 4095


def as_rgb(picture: Image.Image) -> Image.Image:
    """Give the picture as RGB: the first frame, without its alpha channel.

    PIL clips grey values of more than eight bits at 255, so these are scaled: v / 257 of 16 bits, 255 v of
    floats from 0 to 1 (scikit-image's convention).

    Raises:
        ProblemError: the range of such values is not known.
    """
    name = "/".join(Path(getattr(picture, "filename", "")).parts[-2:]) or "one"
    if picture.mode.startswith("I") or picture.mode == "F":
        rgb, largest = _scaled(picture)
        if 1 < largest <= _TWELVE_BITS:
            rgb.info[ODD] = DARK, f"{name} (its largest value is {largest:g})"
        return rgb
    rgb = picture.convert("RGB")
    if _hides_ink(picture):
        rgb.info[ODD] = INKLESS, name
    return rgb


def _scaled(picture: Image.Image) -> tuple[Image.Image, float]:
    """Eight bits of grey from more, and the largest value before."""
    values = np.asarray(picture).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    largest = 1 if picture.mode == "F" else 65535
    # Integers of 32 bits may hold 16 bits, and TIFF's eight too: such a small range tells nothing.
    unclear = picture.format == "TIFF" and picture.mode == "I" and 0 < high <= 255
    if unclear or not 0 <= low <= high <= largest:
        raise ProblemError(
            f"its values are from {low:g} to {high:g}, a range that is not known (expects 0 to {largest} of "
            f"a picture of mode {picture.mode}); save it with 8 bits a channel"
        )
    return Image.fromarray(np.rint(values * (255 / largest)).astype(np.uint8)).convert("RGB"), high


def _hides_ink(picture: Image.Image) -> bool:
    """Whether a picture is of one colour without its alpha channel, which shows something."""
    if not picture.has_transparency_data:
        return False
    bands = np.asarray(picture.convert("RGBA")).reshape(-1, 4)
    *colors, alpha = np.ptp(bands, axis=0)
    return bool(max(colors) < _FAINT <= alpha)
