import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from in_parts import whole
from sklearn.neighbors import KNeighborsClassifier
from torch import Generator, Tensor

from search_spaces.data import Probe as ProbeSection
from trainables.backbones import Backbone, ClipBackbone
from trainables.data import ImageSet, Task, load_task
from trainables.engine.encoder import Encoder
from trainables.errors import ProblemError
from trainables.probes import PROBES, KnnProbe
from trainables.probes import knn as knn_module
from trainables.probes import similarity as similarity_module

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]
Untouched = Callable[[Backbone], Encoder]


def matrices(members: int) -> Tensor:
    return torch.randn(members, 12, 5, generator=Generator().manual_seed(1))


def with_copies(images: ImageSet) -> ImageSet:
    """The first third a second time: neighbours at the same distance."""
    rows = torch.cat([torch.arange(len(images)), torch.arange(len(images) // 3)])
    return ImageSet(images.pixels[rows], images.labels[rows])


@pytest.mark.parametrize("k", [1, 7, 20])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_votes_are_those_of_scikit_learn(
    make_encoder: MakeEncoder,
    make_task: MakeTask,
    monkeypatch: pytest.MonkeyPatch,
    k: int,
    temperature: float,
) -> None:
    """Three models, a bank with pictures that are in it twice, queries and bank in several parts."""
    monkeypatch.setattr(similarity_module, "_ENTRIES", 500)
    monkeypatch.setattr(knn_module, "_BANK", 11 * 3 * 5)
    monkeypatch.setattr(knn_module, "_QUERIES", 8 * 3 * 5)
    monkeypatch.setattr(knn_module, "_VOTES", 9)
    task = make_task()
    task = replace(task, train=with_copies(task.train), test=task.train)
    encoder = make_encoder(matrices(3))
    probe = KnnProbe("shapes", task, k, temperature)

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / temperature)

    for split, images in (("val", task.val), ("test", task.test)):
        bank, queries = encoder.images(task.train), encoder.images(images)
        votes = whole(probe.logits(encoder, images))
        expected = []
        for member in range(3):
            oracle = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
            oracle.fit(bank[member].numpy(), task.train.labels.numpy())
            shares = oracle.predict_proba(queries[member].numpy())
            assert votes[member].numpy() == pytest.approx(shares, abs=1e-4)
            expected.append(100 * oracle.score(queries[member].numpy(), images.labels.numpy()))
        assert probe.accuracy(encoder, split) == pytest.approx(expected)
    assert len(set(expected)) > 1 or k == 1


def test_the_defaults_are_those_of_dino(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    task, encoder = make_task(), make_encoder(matrices(2))
    named = whole(KnnProbe("shapes", task, k=20, temperature=0.07).logits(encoder, task.val))
    assert torch.equal(whole(KnnProbe("shapes", task).logits(encoder, task.val)), named)


def test_a_tie_goes_to_the_first_class(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    """A bank that holds the same picture under two labels."""
    task = make_task()
    bank = ImageSet(task.val.pixels[:1].repeat(2, 1, 1, 1), torch.tensor([2, 1]))
    asked = ImageSet(task.val.pixels[:4], torch.tensor([1, 1, 1, 2]))
    probe = KnnProbe("shapes", replace(task, train=bank, val=asked), k=2)
    assert probe.accuracy(make_encoder(matrices(1)), "val") == [75]


def test_a_tiny_temperature_asks_the_nearest_alone(make_encoder: MakeEncoder, make_task: MakeTask) -> None:
    task, encoder = make_task(), make_encoder(matrices(2))
    nearest = KnnProbe("shapes", task, k=1).accuracy(encoder, "val")
    assert KnnProbe("shapes", task, k=20, temperature=1e-5).accuracy(encoder, "val") == nearest


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_whose_features_are_not_finite_scores_nan(
    make_encoder: MakeEncoder, make_task: MakeTask, value: float
) -> None:
    broken = matrices(3)
    probe = KnnProbe("shapes", make_task())
    alone = probe.accuracy(make_encoder(broken), "val")
    broken[1, 3, 2] = value
    first, second, third = probe.accuracy(make_encoder(broken), "val")
    assert [first, third] == [alone[0], alone[2]]
    assert math.isnan(second)


def test_a_bank_of_fewer_than_k_pictures_is_refused(make_task: MakeTask) -> None:
    KnnProbe("shapes", make_task(train=20))
    with pytest.raises(ProblemError, match=r"^k: 20 nearest pictures .* train split has 19; lower k"):
        KnnProbe("shapes", make_task(train=19))


def test_it_opens_the_data_of_a_source_with_its_settings(
    untouched: Untouched, backbone: ClipBackbone
) -> None:
    section = ProbeSection(source="digits", score="knn", k=3, temperature=0.5, limit=40)
    probe = PROBES["knn"]("scans", section, backbone)
    expected = KnnProbe("scans", load_task(section, backbone.preprocessing), k=3, temperature=0.5)
    for split in ("val", "test"):
        assert probe.accuracy(untouched(backbone), split) == expected.accuracy(untouched(backbone), split)
    with pytest.raises(ProblemError, match=r"^k: 41 nearest pictures .* train split has 40"):
        PROBES["knn"]("scans", section.model_copy(update={"k": 41}), backbone)
