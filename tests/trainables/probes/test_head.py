import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from in_parts import whole
from PIL import Image
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torchvision.transforms.functional import normalize

from search_spaces.data import Probe as ProbeSection
from trainables.backbones import Backbone, ClipBackbone, TimmBackbone, open_timm_backbone
from trainables.backbones.checkpoints import WeightsFile
from trainables.data import Task, load_task
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes import PROBES, HeadProbe

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]
SHARED = Path(__file__).parents[4] / "shared" / "data"

Untouched = Callable[[Backbone], Encoder]


def test_the_untouched_model_answers_as_timms_own(timm_backbone: TimmBackbone, untouched: Untouched) -> None:
    """Against the whole model's forward pass."""
    section = ProbeSection(source="digits", score="head", limit=40)
    probe = PROBES["head"]("scans", section, timm_backbone)
    assert isinstance(probe, HeadProbe)
    task = load_task(section, timm_backbone.preprocessing)
    for split, images in (("val", task.val), ("test", task.test)):
        with torch.no_grad():
            logits = timm_backbone.vit((images.pixels / 255 - timm_backbone.mean) / timm_backbone.std)
        hits = logits.argmax(dim=1) == images.labels
        assert 0 < hits.sum() < 40
        assert whole(probe.logits(untouched(timm_backbone), images))[0].numpy() == pytest.approx(
            logits.numpy(), abs=1e-5
        )
        assert probe.accuracy(untouched(timm_backbone), split) == [100 * hits.double().mean().item()]


def test_every_model_is_scored_by_its_own_features(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    task, classifier = make_task(), nn.Linear(12, 4, bias=False)
    encoder = make_encoder(torch.stack([torch.eye(12), -torch.eye(12)]))
    logits = whole(HeadProbe("shapes", task, classifier).logits(encoder, task.val))
    expected = (task.val.pixels.flatten(1) - 127.5) @ classifier.weight.T
    assert logits[0].numpy() == pytest.approx(expected.detach().numpy(), abs=1e-3)
    assert torch.equal(logits[1], -logits[0])


def test_the_classifier_is_a_frozen_copy(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    classifier = nn.Linear(12, 4)
    probe = HeadProbe("shapes", make_task(), classifier)
    encoder = make_encoder(torch.eye(12)[None])
    before = whole(probe.logits(encoder, make_task().val))
    nn.init.zeros_(classifier.weight)
    assert torch.equal(whole(probe.logits(encoder, make_task().val)), before)
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
    section = ProbeSection(source="digits", score="head")
    with pytest.raises(
        ProblemError, match=r"^score: 'head' needs a model with a classifier .* knn or linear$"
    ):
        PROBES["head"]("scans", section, backbone)


@pytest.fixture(scope="module")
def vit_tiny() -> Path:
    """Weights that lie beside the project, in a folder with a sample of ImageNet."""
    file = SHARED / "vit_tiny_imagenet" / "vit_tiny_patch16_224_in1k.safetensors"
    if not file.is_file() or not (SHARED / "imagenet_sample").is_dir():
        pytest.skip("needs a ViT-Tiny and a sample of ImageNet in ../shared/data, which are no part of this")
    return file


def test_some_of_imagenets_classes_are_found_among_all_outputs(
    tmp_path: Path, vit_tiny: Path, untouched: Untouched
) -> None:
    """40 folders of ImageNet's ids, as ImageNet-A and -R have 200, against timm and ``[:, subset]``."""
    ids = sorted(folder.name for folder in (SHARED / "imagenet_sample").iterdir())
    subset = sorted(np.random.default_rng(0).choice(1000, 40, replace=False).tolist())
    for place in subset:
        (tmp_path / ids[place]).symlink_to(SHARED / "imagenet_sample" / ids[place])
    source = {"source": "folder", "path": str(tmp_path), "score": "head", "split": [0, 0.5, 0.5]}
    section = ProbeSection.model_validate({**source, "class_subset": True, "metric": "mean_per_class"})
    backbone = open_timm_backbone("vit_tiny_patch16_224", file=WeightsFile(str(vit_tiny), "file"))
    probe = PROBES["head"]("some", section, backbone)
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=True, pretrained_cfg_overlay={"file": str(vit_tiny)}
    ).eval()
    config = timm.data.resolve_model_data_config(model)
    test = load_task(section, backbone.preprocessing, ("test",)).test
    with torch.no_grad():
        logits = model(normalize(test.pixels / 255, config["mean"], config["std"]))
    answers = logits[:, subset].argmax(dim=1)
    expected = 100 * balanced_accuracy_score(test.labels, answers)
    assert probe.accuracy(untouched(backbone), "test") == [pytest.approx(expected)]
    assert (answers == test.labels).sum() > (logits.argmax(dim=1) == torch.tensor(subset)[test.labels]).sum()
    with pytest.raises(
        ProblemError, match=r"1000 outputs, the data 40 classes; with class_subset: true answ"
    ):
        PROBES["head"]("some", section.model_copy(update={"class_subset": False}), backbone)


def test_a_subset_of_unknown_classes_is_refused(timm_backbone: TimmBackbone, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    source = {"source": "folder", "path": str(tmp_path), "score": "head", "class_subset": True}
    with pytest.raises(
        ProblemError, match=r"known by ImageNet's ids such as n01440764 alone, not by cat, dog"
    ):
        PROBES["head"]("some", ProbeSection(**source, split=(0, 0.5, 0.5)), timm_backbone)


def test_a_classifier_of_other_classes_is_refused(timm_backbone: TimmBackbone) -> None:
    section = ProbeSection(source="glyph_colors", score="head")
    with pytest.raises(ProblemError, match=r"^score: 'head' needs .* 10 outputs, the data 8 classes; take"):
        PROBES["head"]("colours", section, timm_backbone)
