import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from search_spaces.data import Probe as ProbeSection
from trainables.backbones import Backbone, ClipBackbone, TimmBackbone
from trainables.data import Task, load_task
from trainables.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes import PROBES, HeadProbe

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]
Untouched = Callable[[Backbone], Encoder]


def test_the_untouched_model_answers_as_timms_own(timm_backbone: TimmBackbone, untouched: Untouched) -> None:
    """Against the whole model's forward pass."""
    section = ProbeSection(source="digits", score="head", limit=40).dump()
    probe = PROBES["head"]("scans", section, timm_backbone)
    assert isinstance(probe, HeadProbe)
    task = load_task(section, timm_backbone.preprocessing)
    for split, images in (("val", task.val), ("test", task.test)):
        with torch.no_grad():
            logits = timm_backbone.vit((images.pixels / 255 - timm_backbone.mean) / timm_backbone.std)
        hits = logits.argmax(dim=1) == images.labels
        assert 0 < hits.sum() < 40
        assert probe.logits(untouched(timm_backbone), images)[0].numpy() == pytest.approx(
            logits.numpy(), abs=1e-5
        )
        assert probe.accuracy(untouched(timm_backbone), split) == [100 * hits.double().mean().item()]


def test_every_model_is_scored_by_its_own_features(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    task, classifier = make_task(), nn.Linear(12, 4, bias=False)
    encoder = make_encoder(torch.stack([torch.eye(12), -torch.eye(12)]))
    logits = HeadProbe("shapes", task, classifier).logits(encoder, task.val)
    expected = (task.val.pixels.flatten(1) - 127.5) @ classifier.weight.T
    assert logits[0].numpy() == pytest.approx(expected.detach().numpy(), abs=1e-3)
    assert torch.equal(logits[1], -logits[0])


def test_the_classifier_is_a_frozen_copy(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    classifier = nn.Linear(12, 4)
    probe = HeadProbe("shapes", make_task(), classifier)
    encoder = make_encoder(torch.eye(12)[None])
    before = probe.logits(encoder, make_task().val)
    nn.init.zeros_(classifier.weight)
    assert torch.equal(probe.logits(encoder, make_task().val), before)
    assert not before.requires_grad and classifier.weight.requires_grad


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_whose_features_are_not_finite_scores_nan(
    make_encoder: MakeEncoder, make_task: MakeTask, value: float
) -> None:
    pictures = torch.eye(12).repeat(3, 1, 1)
    probe = HeadProbe("shapes", make_task(), nn.Linear(12, 4))
    alone = probe.accuracy(make_encoder(pictures), "val")
    pictures[1, 0, 0] = value
    first, second, third = probe.accuracy(make_encoder(pictures), "val")
    assert [first, third] == [alone[0], alone[2]]
    assert math.isnan(second)


def test_a_model_without_a_classifier_is_refused(backbone: ClipBackbone) -> None:
    section = ProbeSection(source="digits", score="head").dump()
    with pytest.raises(
        ProblemError, match=r"^score: 'head' needs a model with a classifier .* knn or linear$"
    ):
        PROBES["head"]("scans", section, backbone)


def test_a_classifier_of_other_classes_is_refused(timm_backbone: TimmBackbone) -> None:
    section = ProbeSection(source="glyph_colors", score="head").dump()
    with pytest.raises(ProblemError, match=r"^score: 'head' needs .* 10 outputs, the data 8 classes; take"):
        PROBES["head"]("colours", section, timm_backbone)
