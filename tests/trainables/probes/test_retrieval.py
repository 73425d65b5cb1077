import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from open_clip_train.train import get_clip_metrics
from PIL import Image
from torch import Generator, Tensor

from search_spaces.data import Probe as ProbeSection
from trainables.backbones import Backbone, ClipBackbone, Texts, TimmBackbone
from trainables.data import ImageSet, load_pairs
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes import PROBES, RetrievalProbe
from trainables.probes import retrieval as retrieval_module
from trainables.probes import similarity as similarity_module
from trainables.probes.retrieval import Captioned

MakeEncoder = Callable[..., Encoder]
Untouched = Callable[[Backbone], Encoder]

IMAGES = 23


def captioned(owners: Tensor, seed: int) -> Captioned:
    """Captions whose vectors are their image's pixels, but for some noise."""
    generator = Generator().manual_seed(seed)
    pixels = torch.randint(256, (IMAGES, 3, 2, 2), generator=generator, dtype=torch.uint8)
    vectors = pixels.flatten(1)[owners] - 127.5 + 70 * torch.randn(len(owners), 12, generator=generator)
    tokens = torch.zeros(len(owners), 1, dtype=torch.int64)
    return Captioned(ImageSet(pixels, torch.zeros(IMAGES, dtype=torch.int64)), Texts(tokens, vectors), owners)


def models() -> Tensor:
    """One that keeps what it is given, one that adds noise, one that is noise."""
    noise = torch.randn(12, 12, generator=Generator().manual_seed(5))
    return torch.stack([torch.eye(12), torch.eye(12) + 0.2 * noise, noise])


def recall_by_loops(images: Tensor, texts: Tensor, owners: Tensor) -> float:
    image_hits = text_hits = 0
    for row, image in enumerate(images):
        cosines = [F.cosine_similarity(image, text, dim=0).item() for text in texts]
        image_hits += int(owners[cosines.index(max(cosines))]) == row
    for caption, text in enumerate(texts):
        cosines = [F.cosine_similarity(image, text, dim=0).item() for image in images]
        text_hits += cosines.index(max(cosines)) == int(owners[caption])
    return 100 * (image_hits / len(images) + text_hits / len(texts)) / 2


def test_one_caption_an_image_is_scored_as_open_clip_scores_it(make_encoder: MakeEncoder) -> None:
    splits = {"val": captioned(torch.arange(IMAGES), 0), "test": captioned(torch.arange(IMAGES), 1)}
    encoder = make_encoder(models())
    for split, pairs in splits.items():
        expected = []
        for images, texts in zip(encoder.images(pairs.images), encoder.texts(pairs.texts), strict=True):
            metrics = get_clip_metrics(F.normalize(images, dim=-1), F.normalize(texts, dim=-1), 100.0)
            expected.append(50 * (metrics["image_to_text_R@1"] + metrics["text_to_image_R@1"]))
        assert RetrievalProbe("pairs", splits).accuracy(encoder, split) == pytest.approx(expected)
        assert len(set(expected)) == 3


def test_of_several_captions_any_own_one_is_a_hit(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to three captions an image, in no order, compared in several parts; text tower adapted too."""
    monkeypatch.setattr(similarity_module, "_ENTRIES", 100)
    monkeypatch.setattr(retrieval_module, "_IMAGES", 8 * 3 * 12)
    generator = Generator().manual_seed(2)
    counts = torch.arange(IMAGES) % 3 + 1
    owners = torch.arange(IMAGES).repeat_interleave(counts)
    pairs = captioned(owners[torch.randperm(len(owners), generator=generator)], 3)
    encoder = make_encoder(models(), models()[[1, 0, 0]])
    expected = [
        recall_by_loops(images, texts, pairs.owners)
        for images, texts in zip(encoder.images(pairs.images), encoder.texts(pairs.texts), strict=True)
    ]
    assert RetrievalProbe("pairs", {"val": pairs}).accuracy(encoder, "val") == pytest.approx(expected)
    assert len(set(expected)) == 3


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_whose_features_are_not_finite_scores_nan(
    make_encoder: MakeEncoder, tower: str, value: float
) -> None:
    probe = RetrievalProbe("pairs", {"val": captioned(torch.arange(IMAGES), 0)})
    pictures, sentences = models(), torch.eye(12).repeat(3, 1, 1)
    alone = probe.accuracy(make_encoder(pictures, sentences), "val")
    (pictures if tower == "image" else sentences)[1, 0, 0] = value
    first, second, third = probe.accuracy(make_encoder(pictures, sentences), "val")
    assert [first, third] == [alone[0], alone[2]]
    assert math.isnan(second)


def test_it_opens_the_pairs_of_a_source(
    clip: CLIP, tokenizer: SimpleTokenizer, backbone: ClipBackbone, untouched: Untouched, tmp_path: Path
) -> None:
    generator = Generator().manual_seed(0)
    lines = ["image,caption"]
    for place in range(12):
        colour = torch.randint(256, (3,), generator=generator).tolist()
        Image.new("RGB", (16, 16), tuple(colour)).save(tmp_path / f"{place}.png")
        lines += [f"{place}.png,plain {place}", f"{place}.png,a picture of {place}"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    section = ProbeSection(source="pairs", path=str(tmp_path / "pairs.csv"), score="retrieval")
    probe = PROBES["retrieval"]("pairs", section, backbone)
    for split, pairs in load_pairs(section, backbone.preprocessing)._asdict().items():
        with torch.no_grad():
            images = clip.encode_image((pairs.images.pixels / 255 - backbone.mean) / backbone.std)
            texts = clip.encode_text(tokenizer(list(pairs.captions)))
        expected = recall_by_loops(images, texts, pairs.owners)
        assert probe.accuracy(untouched(backbone), split) == pytest.approx([expected])


def test_a_model_without_a_text_tower_is_refused(timm_backbone: TimmBackbone, tmp_path: Path) -> None:
    section = ProbeSection(source="pairs", path=str(tmp_path / "pairs.csv"), score="retrieval")
    with pytest.raises(ProblemError, match=r"^score: 'retrieval' needs a model with a text tower; take a"):
        PROBES["retrieval"]("pairs", section, timm_backbone)
