"""From what a picture file holds to eight bits of red, green and blue, as torchvision's loader gives them."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainables.errors import ProblemError

INKLESS = "inkless"
"""Where `as_rgb` writes the name of a picture that shows nothing without its alpha channel."""

_FAINT = 8  # levels of 255


def as_rgb(picture: Image.Image) -> Image.Image:
    """Give the picture as RGB: the first frame, without its alpha channel.

    PIL clips grey values of more than eight bits at 255, so these are scaled: v / 257 of 16 bits, 255 v of
    floats from 0 to 1 (scikit-image's convention).

    Raises:
        ProblemError: the range of such values is not known.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        return _scaled(picture).convert("RGB")
    rgb = picture.convert("RGB")
    if _hides_ink(picture):
        rgb.info[INKLESS] = "/".join(Path(getattr(picture, "filename", "")).parts[-2:])
    return rgb


def _scaled(picture: Image.Image) -> Image.Image:
    """Eight bits of grey from more."""
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
    return Image.fromarray(np.rint(values * (255 / largest)).astype(np.uint8))


def _hides_ink(picture: Image.Image) -> bool:
    """Whether a picture is of one colour without its alpha channel, which shows something."""
    if not picture.has_transparency_data:
        return False
    bands = np.asarray(picture.convert("RGBA")).reshape(-1, 4)
    *colors, alpha = np.ptp(bands, axis=0)
    return bool(max(colors) < _FAINT <= alpha)
