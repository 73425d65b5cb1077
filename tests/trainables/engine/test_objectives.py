"""Losses and logits of a pack, against open_clip's and scikit-learn's."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip import CLIP, ClipLoss, build_zero_shot_classifier
from open_clip.tokenizer import SimpleTokenizer
from torch import Generator, Tensor

from search_spaces import Space, load_space
from trainables import Problem, Training, open_problem
from trainables.engine.batch import Batch
from trainables.engine.learner import Learner
from trainables.engine.objectives import Flyp, FreshHead, PromptHead, make_objective
from trainables.export.library import library_model
from trainables.methods.block_method import BlockMethod
from trainables.methods.untouched import untouched

MakeSpace = Callable[..., Space]

BOTH = {"towers": ("image", "text")}
MEMBERS = 3


def generators(count: int = MEMBERS) -> list[Generator]:
    return [Generator().manual_seed(seed) for seed in range(count)]


def flyp_learner(problem: Problem, make_space: MakeSpace, *ranks: int) -> Learner:
    """A pack in which both towers are adapted by random updates."""
    spaces = [make_space("lora", {**BOTH, "rank": rank}, objective="flyp") for rank in ranks]
    learner = Learner(problem, spaces, generators(len(spaces)))
    with torch.no_grad():
        for parameter in learner.method.updates().values():
            parameter.normal_(0, 0.3, generator=Generator().manual_seed(3))
    return learner


def test_the_contrastive_loss_is_open_clips_for_every_member(problem: Problem) -> None:
    generator = Generator().manual_seed(5)
    features = torch.randn(MEMBERS, 8, 24, generator=generator)
    labels = torch.randint(3, (MEMBERS, 8), generator=generator)
    given: list[Tensor] = []

    def encode_text(tokens: Tensor) -> Tensor:
        given.append(tokens.unflatten(0, (MEMBERS, -1)))
        return problem.backbone.encode_text(tokens)

    losses = Flyp(problem, generators()).loss(features, labels, encode_text)
    (tokens,) = given
    for k in range(MEMBERS):
        texts = problem.backbone.encode_text(tokens[k])
        expected = ClipLoss()(
            F.normalize(features[k], dim=-1), F.normalize(texts, dim=-1), problem.backbone.logit_scale
        )
        torch.testing.assert_close(losses[k], expected, rtol=1e-4, atol=1e-5)


def test_an_image_is_paired_with_any_prompt_of_its_class(problem: Problem) -> None:
    assert problem.prompts is not None
    by_class = problem.prompts.tokens.unflatten(0, (3, 2))  # two templates
    given: list[Tensor] = []

    def encode_text(tokens: Tensor) -> Tensor:
        given.append(tokens)
        return problem.backbone.encode_text(tokens)

    labels = (torch.arange(64) % 3).repeat(2, 1)
    Flyp(problem, generators(2)).loss(torch.randn(2, 64, 24), labels, encode_text)
    same = (given[0][:, None] == by_class[labels.flatten()]).all(dim=-1)  # (2 * 64, templates)
    assert (same.sum(dim=1) == 1).all()
    drawn = same.float().argmax(dim=1).view(2, 64)
    assert all(16 < count < 48 for count in drawn.sum(dim=1).tolist())
    assert not torch.equal(drawn[0], drawn[1])


def test_gradients_reach_every_block_of_both_towers(problem: Problem, make_space: MakeSpace) -> None:
    learner = flyp_learner(problem, make_space, 2, 2)
    assert isinstance(learner.method, BlockMethod)
    assert {name.split(".")[0] for name in learner.method.blocks} == {"image", "text"}
    train = problem.task.train
    learner.loss(Batch(train, torch.arange(len(train))[None]), 0).sum().backward()
    for block in learner.method.placed:
        assert block.down.grad.flatten(1).any(dim=1).all() and block.up.grad.flatten(1).any(dim=1).all()
    assert not any(name.startswith("objective") for name in learner.trained())


def test_classes_are_named_by_the_adapted_text_tower(
    problem: Problem, make_space: MakeSpace, clip: CLIP, tokenizer: SimpleTokenizer
) -> None:
    learner = flyp_learner(problem, make_space, 2, 3)
    encoder = learner.encoder()
    images = problem.task.val
    (logits,) = learner.objective.logits([torch.cat(list(encoder.parts(images)), dim=1)], encoder)
    for k in range(2):
        merged = copy.deepcopy(clip)
        merged.load_state_dict(learner.method.merged(k).plain_state())
        classifier = build_zero_shot_classifier(
            merged, tokenizer, problem.task.classes, problem.task.templates
        )
        pixels = (images.pixels / 255 - problem.backbone.mean) / problem.backbone.std
        features = merged.encode_image(pixels, normalize=True)
        expected = merged.logit_scale.exp() * features @ classifier
        torch.testing.assert_close(logits[k], expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(logits[0], logits[1], rtol=0.1)


def test_a_text_tower_that_is_left_alone_is_not_run_again(problem: Problem, make_space: MakeSpace) -> None:
    learner = Learner(problem, [make_space("lora", objective="flyp")], generators(1))
    assert problem.prompts is not None
    assert torch.equal(learner.encode_texts(problem.prompts)[0], problem.backbone.vectors(problem.prompts))


@pytest.mark.parametrize(
    ("name", "settings"), [("lora", {}), ("selective_lora", {"lambda": 0.0}), ("taps", {"lambda": 0.0})]
)
def test_flyp_learns(problem: Problem, make_space: MakeSpace, name: str, settings: dict[str, Any]) -> None:
    space = make_space(name, {**BOTH, **settings}, objective="flyp", epochs=12, batch_size=24, lr=2e-2)
    training = Training(problem, [space])
    losses = [training.run_epoch()[0]["loss"] for _ in range(training.epochs)]
    assert losses[-1] < 0.95 * losses[0]


def test_a_prompt_head_starts_as_open_clips_classifier(
    problem: Problem, clip: CLIP, tokenizer: SimpleTokenizer
) -> None:
    head = make_objective(problem, "cross_entropy", None, generators())
    assert isinstance(head, PromptHead)
    features = torch.randn(MEMBERS, 5, 24)
    classifier = build_zero_shot_classifier(clip, tokenizer, problem.task.classes, problem.task.templates)
    expected = clip.logit_scale.exp() * F.normalize(features, dim=-1) @ classifier
    torch.testing.assert_close(head.head(features), expected, rtol=1e-4, atol=1e-4)


def test_an_untouched_head_answers_as_open_clip_does_zero_shot() -> None:
    """The shipped CLIP, on all handwritten digits, to the picture."""
    space = load_space(Path(__file__).parents[3] / "spaces" / "clip_lambda.yaml")
    problem = open_problem(space)
    training = Training(problem, [untouched(space)])
    clip, tokenizer = library_model(problem.backbone), problem.backbone.tokenizer
    templates = [template.format for template in problem.task.templates]
    classifier = build_zero_shot_classifier(clip, tokenizer, problem.task.classes, templates)
    for metrics, name, images in (
        (training.validate()[0], "id_accuracy", problem.task.val),
        (training.test()[0], "test/id_accuracy", problem.task.test),
    ):
        pixels = (images.pixels / 255 - problem.backbone.mean) / problem.backbone.std
        with torch.no_grad():
            answers = (100 * clip.encode_image(pixels, normalize=True) @ classifier).argmax(dim=1)
        right = (answers == images.labels).double().mean().item()
        assert metrics[name] == pytest.approx(100 * right, abs=1e-9)


def test_a_fresh_head_is_small_noise_of_each_seed(timm_problem: Problem, problem: Problem) -> None:
    head = make_objective(timm_problem, "cross_entropy", None, generators())
    assert isinstance(head, FreshHead)
    assert isinstance(make_objective(problem, "cross_entropy", "fresh", generators()), FreshHead)
    assert head.weight.shape == (MEMBERS, 3, 32) and not head.bias.any()
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.15)
    assert not torch.equal(head.weight[0], head.weight[1])
    again = make_objective(timm_problem, "cross_entropy", "fresh", generators())
    assert isinstance(again, FreshHead) and torch.equal(again.weight, head.weight)
    with torch.no_grad():
        head.bias.normal_()
    features = torch.randn(MEMBERS, 5, 32)
    for k in range(MEMBERS):
        expected = F.linear(features[k], head.weight[k], head.bias[k])
        torch.testing.assert_close(head.head(features)[k], expected, rtol=1e-5, atol=1e-6)
