import pytest
import torch

from trainables.data import SHIPPED
from trainables.data.drawing import FONTS, HELD_OUT_FONTS


@pytest.mark.parametrize(("source", "classes"), [("glyphs", 26), ("glyph_colors", 8)])
def test_splits_hold_every_class_about_equally_often(source: str, classes: int) -> None:
    task = SHIPPED[source](32)
    assert len(task.classes) == classes
    assert all(template.count("{}") == 1 for template in task.templates)
    for split in (task.train, task.val, task.test):
        assert split.pixels.dtype == torch.uint8 and split.pixels.shape == (len(split), 3, 32, 32)
        counts = torch.bincount(split.labels, minlength=classes)
        assert len(counts) == classes
        assert counts.min() > 0.7 * len(split) / classes


def test_no_image_is_in_two_splits() -> None:
    task = SHIPPED["glyphs"](32)
    everything = torch.cat([task.train.pixels, task.val.pixels, task.test.pixels]).flatten(1)
    assert len(everything.unique(dim=0)) == len(everything)


def test_both_tasks_ask_about_the_same_images() -> None:
    assert torch.equal(SHIPPED["glyphs"](32).val.pixels, SHIPPED["glyph_colors"](32).val.pixels)


def test_probes_are_in_fonts_of_their_own() -> None:
    assert not set(FONTS) & set(HELD_OUT_FONTS)
