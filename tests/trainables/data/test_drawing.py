import pytest
import torch

from trainables.data.drawing import (
    COLOURS,
    FONTS,
    HELD_OUT_FONTS,
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


def test_a_seed_draws_the_same_images_and_another_one_others() -> None:
    style = Style(shear=0.2, coarse=0.5)
    first, again, other = (drawings(seed, style) for seed in (3, 3, 4))
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.inks, again.inks)
    assert not torch.equal(first.pixels, other.pixels)


def test_corners_show_the_background_and_its_colour_is_not_the_symbols() -> None:
    drawn = drawings(0)
    palette = torch.tensor(list(COLOURS.values()))
    corners = drawn.pixels[:, :, 0, 0].float()
    nearest = torch.cdist(corners, palette.float()).argmin(1)
    assert (nearest == drawn.grounds).float().mean() > 0.97
    assert (drawn.inks != drawn.grounds).all()


def test_a_full_shape_has_the_ink_in_its_middle() -> None:
    circles = torch.full((64,), SYMBOLS.index("circle"))
    drawn = draw(circles, FONTS, STILL, 32, torch.Generator().manual_seed(0))
    palette = torch.tensor(list(COLOURS.values()))
    nearest = torch.cdist(drawn.pixels[:, :, 16, 16].float(), palette.float()).argmin(1)
    assert (nearest == drawn.inks).float().mean() > 0.97


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
