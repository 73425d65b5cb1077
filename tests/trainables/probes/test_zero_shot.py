import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from in_parts import whole
from open_clip import CLIP, build_zero_shot_classifier
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Generator, Tensor

from search_spaces.data import Probe as ProbeSection
from trainables.backbones import Backbone, ClipBackbone, Texts, TimmBackbone, class_sentences
from trainables.data import ImageSet, Task, load_task
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes import PROBES, ZeroShotProbe

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]
Untouched = Callable[[Backbone], Encoder]

CLASSES = ("letter", "digit", "circle")
TEMPLATES = ("a red {}", "a {} on a blue background")


def known_images(clip: CLIP, tokenizer: SimpleTokenizer, backbone: ClipBackbone, seed: int) -> ImageSet:
    """Labels that are open_clip's answers, but for three of twelve that are wrong."""
    generator = Generator().manual_seed(seed)
    tint, noise = (torch.rand(12, 3, side, side, generator=generator) for side in (1, 16))
    pixels = (255 * (tint + noise) / 2).to(torch.uint8)
    classifier = build_zero_shot_classifier(clip, tokenizer, CLASSES, TEMPLATES)
    images = (pixels / 255 - backbone.mean) / backbone.std
    answers = (100 * clip.encode_image(images, normalize=True) @ classifier).argmax(dim=1)
    assert len(answers.unique()) > 1
    return ImageSet(pixels, torch.cat([answers[:-3], (answers[-3:] + 1) % 3]))


def test_the_probe_answers_as_open_clips_zero_shot_classifier(
    clip: CLIP, tokenizer: SimpleTokenizer, backbone: ClipBackbone, untouched: Untouched
) -> None:
    val, test = (known_images(clip, tokenizer, backbone, seed) for seed in (1, 2))
    task = Task(CLASSES, TEMPLATES, val, val, replace(test, labels=(test.labels + 1) % 3))
    probe = ZeroShotProbe("known", task, backbone.texts(class_sentences(CLASSES, TEMPLATES)))
    assert probe.accuracy(untouched(backbone), "val") == [75]
    assert probe.accuracy(untouched(backbone), "test")[0] <= 25


def named_by_pixels(task: Task) -> Texts:
    """A sentence for each class, whose vector is the mean picture of the class."""
    pixels, labels = task.train.pixels, task.train.labels
    assert isinstance(pixels, Tensor)
    means = [pixels[labels == label].flatten(1).float().mean(dim=0) for label in range(len(task.classes))]
    return Texts(torch.zeros(len(means), 1, dtype=torch.int64), torch.stack(means) - 127.5)


def test_every_model_is_scored_by_its_own_towers(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    """Both towers turned together keep every cosine; one alone does not."""
    task = make_task()
    probe = ZeroShotProbe("shapes", task, named_by_pixels(task))
    turn = torch.linalg.qr(torch.randn(12, 12, generator=Generator().manual_seed(3))).Q
    plain = torch.eye(12)
    encoder = make_encoder(torch.stack([plain, turn, plain, turn]), torch.stack([plain, turn, turn, plain]))
    untouched, both, text_alone, image_alone = probe.accuracy(encoder, "val")
    assert untouched == both > 60
    assert max(text_alone, image_alone) < untouched

    cosines = F.cosine_similarity(
        (task.val.pixels[:, None] - 127.5).flatten(2), named_by_pixels(task).vectors, dim=-1
    )
    assert whole(probe.logits(encoder, task.val))[0].numpy() == pytest.approx(cosines.numpy(), abs=1e-5)


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_whose_features_are_not_finite_scores_nan(
    make_encoder: MakeEncoder, make_task: MakeTask, tower: str, value: float
) -> None:
    task = make_task()
    probe = ZeroShotProbe("shapes", task, named_by_pixels(task))
    pictures, sentences = torch.eye(12).repeat(3, 1, 1), torch.eye(12).repeat(3, 1, 1)
    alone = probe.accuracy(make_encoder(pictures, sentences), "val")
    (pictures if tower == "image" else sentences)[1, 0, 0] = value
    first, second, third = probe.accuracy(make_encoder(pictures, sentences), "val")
    assert [first, third] == [alone[0], alone[2]]
    assert math.isnan(second)


def test_it_opens_the_data_of_a_source(
    clip: CLIP, tokenizer: SimpleTokenizer, backbone: ClipBackbone, untouched: Untouched
) -> None:
    section = ProbeSection(source="digits", limit=40)
    probe = PROBES["zero_shot"]("scans", section, backbone)
    task = load_task(section, backbone.preprocessing)
    classifier = build_zero_shot_classifier(clip, tokenizer, task.classes, task.templates)
    for split, images in (("val", task.val), ("test", task.test)):
        features = clip.encode_image((images.pixels / 255 - backbone.mean) / backbone.std, normalize=True)
        hits = (features @ classifier).argmax(dim=1) == images.labels
        assert probe.accuracy(untouched(backbone), split) == [100 * hits.double().mean().item()]


def test_classes_without_names_are_refused(backbone: ClipBackbone, tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    section = ProbeSection(source="folder", path=str(tmp_path))
    with pytest.raises(
        ProblemError, match=r"^classes: '0' is a number or an id, of which no prompt can be made; "
    ):
        PROBES["zero_shot"]("numbers", section, backbone)
    named = PROBES["zero_shot"]("numbers", section.model_copy(update={"classes": ("0", "1")}), backbone)
    assert named.task.classes == ("0", "1")  # type: ignore[attr-defined]
    assert (
        PROBES["knn"]("numbers", section.model_copy(update={"k": 2, "temperature": 0.07}), backbone).name
        == "numbers"
    )


def test_a_model_without_a_text_tower_is_refused(timm_backbone: TimmBackbone) -> None:
    section = ProbeSection(source="digits")
    with pytest.raises(ProblemError, match=r"^score: 'zero_shot' needs a model with a text tower; take knn"):
        PROBES["zero_shot"]("scans", section, timm_backbone)
