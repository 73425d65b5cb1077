import math
from collections.abc import Callable

import pytest
import torch
from in_parts import whole
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor

from search_spaces.data import Probe as ProbeSection
from trainables.backbones import Backbone, ClipBackbone
from trainables.data import Task, load_task
from trainables.engine.encoder import Encoder
from trainables.engine.linear_fit import DECAY
from trainables.probes import PROBES, LinearProbe

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]
Untouched = Callable[[Backbone], Encoder]


def matrices() -> Tensor:
    """Of three models; a feature of the second is always 0, the third's are a thousand times as long."""
    made = torch.randn(3, 12, 5, generator=Generator().manual_seed(1))
    made[1, :, 2] = 0
    made[2] *= 1000
    return made


def test_the_logits_are_those_of_scikit_learn(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    task, encoder = make_task(), make_encoder(matrices())
    probe = LinearProbe("shapes", task)
    for split, images in (("val", task.val), ("test", task.test)):
        train, features = encoder.images(task.train), encoder.images(images)
        logits = whole(probe.logits(encoder, images))
        expected = []
        for member in range(3):
            regression = LogisticRegression(C=1 / (DECAY * len(task.train)), max_iter=5000, tol=1e-7)
            oracle = make_pipeline(StandardScaler(), regression)
            oracle.fit(train[member].double().numpy(), task.train.labels.numpy())
            decision = oracle.decision_function(features[member].double().numpy())
            assert logits[member].numpy() == pytest.approx(decision, rel=0.02, abs=0.02)
            expected.append(100 * oracle.score(features[member].numpy(), images.labels.numpy()))
        assert probe.accuracy(encoder, split) == pytest.approx(expected)
        assert len(set(expected)) > 1


def test_it_fits_in_inference_mode_too(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    probe = LinearProbe("shapes", make_task())
    plain = probe.accuracy(make_encoder(matrices()), "val")
    with torch.inference_mode():
        task = make_task()
        assert LinearProbe("shapes", task).accuracy(make_encoder(matrices()), "val") == plain


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e37])
def test_a_model_whose_features_are_not_finite_scores_nan(
    make_encoder: MakeEncoder, make_task: MakeTask, value: float
) -> None:
    broken = matrices()
    probe = LinearProbe("shapes", make_task())
    alone = probe.accuracy(make_encoder(broken), "val")
    broken[1, 3, 2] = value
    first, second, third = probe.accuracy(make_encoder(broken), "val")  # 1e37: their mean is not finite
    assert [first, third] == [alone[0], alone[2]]
    assert math.isnan(second)


def test_it_opens_the_data_of_a_source(untouched: Untouched, backbone: ClipBackbone) -> None:
    section = ProbeSection(source="digits", score="linear", limit=40)
    task = load_task(section, backbone.preprocessing)
    assert [len(split) for split in (task.train, task.val, task.test)] == [40, 40, 40]
    probe = PROBES["linear"]("scans", section, backbone)
    for split in ("val", "test"):
        expected = LinearProbe("scans", task).accuracy(untouched(backbone), split)
        assert probe.accuracy(untouched(backbone), split) == expected
