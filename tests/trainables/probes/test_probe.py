"""Probes on another device: torch's meta device, which refuses to work with what was left behind."""

from collections.abc import Callable

import pytest
import torch
from in_parts import whole
from torch import nn

from trainables.backbones import Texts
from trainables.data import Task
from trainables.engine.encoder import Encoder
from trainables.probes import HeadProbe, KnnProbe, LinearProbe, ZeroShotProbe
from trainables.probes.probe import ClassificationProbe
from trainables.probes.retrieval import Captioned, RetrievalProbe

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]


def sentences(count: int) -> Texts:
    return Texts(torch.zeros(count, 3, dtype=torch.int64), torch.ones(count, 12))


KINDS: dict[str, Callable[[Task], ClassificationProbe]] = {
    "zero_shot": lambda task: ZeroShotProbe("shapes", task, sentences(4)),
    "knn": lambda task: KnnProbe("shapes", task),
    "head": lambda task: HeadProbe("shapes", task, nn.Linear(12, 4)),
    "linear": lambda task: LinearProbe("shapes", task),
}


@pytest.mark.parametrize("kind", ["zero_shot", "knn", "head"])
def test_logits_are_had_where_the_probe_was_moved_to(
    make_encoder: MakeEncoder, make_task: MakeTask, kind: str
) -> None:
    probe = KINDS[kind](make_task())
    before = whole(probe.logits(make_encoder(torch.eye(12)[None]), probe.task.val))
    moved = probe.to("meta")
    there = make_encoder(torch.eye(12, device="meta")[None], torch.eye(12, device="meta"))
    logits = whole(moved.logits(there, moved.task.val))
    assert logits.is_meta and logits.shape == (1, 40, 4)
    assert torch.equal(whole(probe.logits(make_encoder(torch.eye(12)[None]), probe.task.val)), before)


@pytest.mark.parametrize("kind", list(KINDS))
def test_pictures_and_labels_move_and_the_first_probe_keeps_its_own(make_task: MakeTask, kind: str) -> None:
    probe = KINDS[kind](make_task())
    moved = probe.to("meta")
    assert moved.name == "shapes"
    for split in ("train", "val", "test"):
        there, here = getattr(moved.task, split), getattr(probe.task, split)
        assert there.pixels.is_meta and there.labels.is_meta
        assert not here.pixels.is_meta and not here.labels.is_meta


def test_captioned_images_move_as_one(make_task: MakeTask) -> None:
    pairs = Captioned(make_task().val, sentences(40), torch.arange(40))
    moved = RetrievalProbe("pairs", {"val": pairs}).to("meta").splits["val"]
    assert moved.images.pixels.is_meta and moved.owners.is_meta
    assert moved.texts.tokens.is_meta
    assert not pairs.owners.is_meta
