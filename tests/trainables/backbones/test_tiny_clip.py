import gzip
import json
from pathlib import Path

import pytest
import torch
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer

from tools.tiny_clip.captions import captions, write_merges
from tools.tiny_clip.train import Recipe, figures, train
from trainables.backbones.tiny_clip import FIGURES, IMAGE_SIZE, MEAN, MERGES, STD, WEIGHTS, open_tiny_clip
from trainables.data.drawing import DIGITS, FONTS, GROUNDS, INKS, SHAPES, SYMBOLS, Drawings, Style, draw

Opened = tuple[CLIP, SimpleTokenizer]


@pytest.fixture(scope="module")
def opened() -> Opened:
    return open_tiny_clip()


@pytest.fixture(scope="module")
def reached(opened: Opened) -> dict[str, dict[str, float]]:
    return figures(*opened)


@pytest.fixture
def drawings() -> Drawings:
    symbols = torch.arange(len(SYMBOLS))
    return draw(symbols, FONTS, Style(), IMAGE_SIZE, torch.Generator().manual_seed(1))


def test_the_model_is_open_clips_own_and_has_32_linear_layers_to_adapt(opened: Opened) -> None:
    model, _ = opened
    assert type(model) is CLIP and not model.training
    assert len(model.visual.transformer.resblocks) == 8
    assert model.encode_image(torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE)).shape == (2, 64)
    assert (model.visual.image_mean, model.visual.image_std) == (MEAN, STD)


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size <= 3e6


@pytest.mark.parametrize("split", ["val", "test"])
def test_zero_shot_knows_the_probes_and_half_knows_the_task(
    reached: dict[str, dict[str, float]], split: str
) -> None:
    assert reached["glyphs"][split] >= 80
    assert reached["glyph_colors"][split] >= 80
    assert 30 <= reached["digits"][split] <= 80


def test_the_figures_that_ship_are_those_of_the_weights_that_ship(
    reached: dict[str, dict[str, float]],
) -> None:
    written = json.loads(FIGURES.read_text())["zero_shot_percent"]
    for source, splits in reached.items():
        assert written[source] == pytest.approx(splits, abs=0.6)  # two images of 360, for another processor


def test_every_word_is_a_few_tokens_and_most_are_one(opened: Opened) -> None:
    _, tokenizer = opened
    words = (*INKS, *GROUNDS, *DIGITS, *SHAPES, "letter", "digit", "picture", "background")
    lengths = [len(tokenizer.encode(word)) for word in words]
    assert max(lengths) <= 3
    assert lengths.count(1) > 0.9 * len(words)
    assert tokenizer.vocab_size == opened[0].vocab_size


def test_merges_are_written_the_same_to_the_byte(tmp_path: Path) -> None:
    write_merges(tmp_path / "merges.txt.gz")
    assert gzip.decompress(MERGES.read_bytes()) == gzip.decompress((tmp_path / "merges.txt.gz").read_bytes())
    first = (tmp_path / "merges.txt.gz").read_bytes()
    write_merges(tmp_path / "merges.txt.gz")
    assert (tmp_path / "merges.txt.gz").read_bytes() == first


def test_captions_say_what_is_drawn(drawings: Drawings) -> None:
    said = captions(drawings, torch.Generator().manual_seed(0))
    assert said == captions(drawings, torch.Generator().manual_seed(0))
    inks = tuple(INKS)
    for sentence, symbol, ink in zip(said, drawings.symbols, drawings.inks, strict=True):
        words = sentence.split()
        assert SYMBOLS[symbol] in words or inks[ink] in words


def test_training_is_seeded_and_lowers_the_loss() -> None:
    def trained() -> tuple[torch.Tensor, list[float]]:
        torch.manual_seed(0)
        model, tokenizer = open_tiny_clip(pretrained=False)
        losses = train(model, tokenizer, Recipe(steps=8, batch_size=64))
        return model.visual.proj.detach(), losses

    first, losses = trained()
    second, _ = trained()
    assert torch.equal(first, second)
    assert losses[-1] < losses[0]
