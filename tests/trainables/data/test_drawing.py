import pytest
import torch
from torch import Tensor

from trainables.data.drawing import (
    FONTS,
    GROUNDS,
    HELD_OUT_FONTS,
    INKS,
    SYMBOLS,
    Drawings,
    Style,
    draw,
    stencils,
)

STILL = Style(rotation=0, scale=(1, 1), shift=0, noise=0)


def drawings(seed: int, style: Style = STILL) -> Drawings:
    symbols = torch.arange(2 * len(SYMBOLS)) % len(SYMBOLS)
    return draw(symbols, FONTS, style, 32, torch.Generator().manual_seed(seed))


def nearest(named: dict[str, tuple[int, int, int]], colours: Tensor) -> Tensor:
    return torch.cdist(colours.float(), torch.tensor(list(named.values())).float()).argmin(1)


def test_a_seed_draws_the_same_images_and_another_one_others() -> None:
    style = Style(shear=0.2, coarse=0.5)
    first, again, other = (drawings(seed, style) for seed in (3, 3, 4))
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.inks, again.inks)
    assert not torch.equal(first.pixels, other.pixels)


def test_corners_show_the_background_and_the_middle_of_a_full_shape_the_ink() -> None:
    circles = torch.full((64,), SYMBOLS.index("circle"))
    drawn = draw(circles, FONTS, STILL, 32, torch.Generator().manual_seed(0))
    assert (nearest(GROUNDS, drawn.pixels[:, :, 0, 0]) == drawn.grounds).float().mean() > 0.97
    assert (nearest(INKS, drawn.pixels[:, :, 16, 16]) == drawn.inks).float().mean() > 0.97


def test_every_ink_is_lighter_than_every_background() -> None:
    luminance = torch.tensor([0.30, 0.59, 0.11])
    inks, grounds = ((torch.tensor(list(named.values())) * luminance).sum(1) for named in (INKS, GROUNDS))
    assert inks.min() > 1.5 * grounds.max()


def test_every_font_prints_every_symbol_in_its_own_way() -> None:
    printed = stencils((*FONTS, *HELD_OUT_FONTS))[:36].flatten(2)
    assert printed.mean(2).min() > 0.02
    for font in range(printed.shape[1]):
        assert len(printed[:, font].unique(dim=0)) == 36


@pytest.mark.parametrize("image_size", [28, 32, 48])
def test_size_of_the_images(image_size: int) -> None:
    drawn = draw(torch.tensor([0, 5]), FONTS, Style(coarse=1), image_size, torch.Generator().manual_seed(0))
    assert drawn.pixels.shape == (2, 3, image_size, image_size)
    assert drawn.pixels.dtype == torch.uint8
