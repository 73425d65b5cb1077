import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from open_clip import CLIP, build_zero_shot_classifier
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from trainables import Problem
from trainables.data import ImageSet
from trainables.probes import ZeroShotProbe


def open_clip_answers(clip: CLIP, tokenizer: SimpleTokenizer, problem: Problem, pixels: Tensor) -> Tensor:
    classifier = build_zero_shot_classifier(clip, tokenizer, problem.task.classes, problem.task.templates)
    images = (pixels / 255 - problem.backbone.mean) / problem.backbone.std
    return (100 * clip.encode_image(images, normalize=True) @ classifier).argmax(dim=1)


def test_the_probe_answers_as_open_clips_zero_shot_classifier(
    clip: CLIP, tokenizer: SimpleTokenizer, problem: Problem
) -> None:
    """Labels that are open_clip's answers, but for three of each split that are wrong."""
    known = {}
    for split in ("val", "test"):
        pixels = getattr(problem.task, split).pixels
        answers = open_clip_answers(clip, tokenizer, problem, pixels)
        assert len(answers.unique()) > 1
        known[split] = ImageSet(pixels, torch.cat([answers[:-3], (answers[-3:] + 1) % 3]))
    probe = ZeroShotProbe("known", replace(problem.task, **known), problem.backbone)

    def encode(images: ImageSet) -> Tensor:
        return problem.backbone(images.pixels)[None]

    assert probe.accuracy(encode, "val") == [75]
    assert probe.accuracy(encode, "test") == [75]


def test_every_member_is_scored_by_its_own_features(problem: Problem) -> None:
    probe = ZeroShotProbe("classes", problem.task, problem.backbone)
    labels = problem.task.val.labels
    right = F.one_hot(labels, 3).float() @ torch.linalg.pinv(problem.prompts).T
    shifted = F.one_hot((labels + 1) % 3, 3).float() @ torch.linalg.pinv(problem.prompts).T
    first, second, third = probe.accuracy(
        lambda images: torch.stack([right, shifted, torch.full_like(right, math.nan)]), "val"
    )
    assert (first, second) == (100, 0)
    assert math.isnan(third)
