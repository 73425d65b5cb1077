"""Which weights decay and how fast each moves, against timm's groups and torch's optimisers."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from open_clip import CLIP
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine.optimizer import Packed

MakeSpace = Callable[..., Space]

BOTH = {"towers": ("image", "text")}


def decaying(optimizer: Packed) -> bool:
    (decay,) = set(optimizer._decay.flatten().tolist())
    return bool(decay)


def decaying_names(training: Training) -> set[str]:
    chosen = {id(p) for o in training.optimizers if decaying(o) for p in o.parameters}
    return {name for name, p in training.learner.trained().items() if id(p) in chosen}


def timms_names(model: nn.Module) -> set[str]:
    """Names of the weights that decay in timm."""
    model = copy.deepcopy(model).requires_grad_(True)
    groups = param_groups_weight_decay(model, 0.1, no_weight_decay_list=model.no_weight_decay())
    chosen = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in chosen}


def test_the_weights_of_a_clip_that_decay_are_timms(
    problem: Problem, clip: CLIP, make_space: MakeSpace
) -> None:
    training = Training(problem, [make_space("full", BOTH, objective="flyp", weight_decay=0.1)])
    ours = {"in_proj_weight": "qkv.weight", "out_proj.weight": "proj.weight"}
    expected = {f"method.backbone.clip.{name}" for name in timms_names(clip)}
    for theirs, name in ours.items():
        expected = {each.replace(theirs, name) for each in expected}
    assert decaying_names(training) == expected


def test_the_weights_of_a_vit_that_decay_are_timms(
    timm_problem: Problem, vit: VisionTransformer, make_space: MakeSpace
) -> None:
    training = Training(timm_problem, [make_space("full", weight_decay=0.1)])
    tower = {f"method.backbone.vit.{name}" for name in timms_names(vit) if not name.startswith("head.")}
    assert decaying_names(training) == {*tower, "objective.weight"}


@pytest.mark.parametrize("name", ["lora", "taps", "linear", "selective_lora"])
def test_the_pack_axis_makes_no_bias_a_matrix(
    timm_problem: Problem, make_space: MakeSpace, name: str
) -> None:
    training = Training(timm_problem, [make_space(name, weight_decay=0.1, seed=seed) for seed in range(3)])
    exempt = training.learner.trained().keys() - decaying_names(training)
    assert exempt - {"method.gates.scores"} == {"objective.bias"}


class PublishedHead(nn.Module):
    """A model as WiSE-FT trains it: a linear layer, which holds the logit scale, on unit features."""

    def __init__(self, clip: CLIP, class_vectors: Tensor) -> None:
        super().__init__()
        self.visual = copy.deepcopy(clip.visual).requires_grad_(True)
        self.head = nn.Linear(*class_vectors.T.shape, bias=False)
        self.head.weight.data.copy_(clip.logit_scale.exp() * class_vectors)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.normalize(self.visual(images), dim=-1))
        return logits


@pytest.mark.parametrize("head_lr", [None, 0.3])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_is_torchs_on_the_published_model(
    problem: Problem, clip: CLIP, make_space: MakeSpace, optimizer: str, head_lr: float | None
) -> None:
    """Weight by weight, with a batch of all pictures, so that their order is of no matter."""
    rate = {"adamw": 1e-3, "sgd": 1e-4}[optimizer]
    schedule = {"epochs": 3, "batch_size": 24, "lr": rate, "head_lr": head_lr, "weight_decay": 0.1}
    training = Training(problem, [make_space("full", optimizer=optimizer, **schedule)])
    train, model = problem.task.train, PublishedHead(clip, problem.class_vectors)
    images = (train.pixels / 255 - problem.backbone.mean) / problem.backbone.std
    groups = [
        {**group, "lr": lr}
        for part, lr in ((model.visual, rate), (model.head, head_lr or rate))
        for group in param_groups_weight_decay(part, 0.1, no_weight_decay_list=clip.visual.no_weight_decay())
    ]
    kinds = {"adamw": torch.optim.AdamW, "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9)}
    plain = kinds[optimizer](groups)
    scheduler = torch.optim.lr_scheduler.LambdaLR(plain, lambda done: training._share(done + 1))
    for _ in range(3):
        loss = F.cross_entropy(model(images), train.labels)
        plain.zero_grad()
        loss.backward()
        plain.step()
        scheduler.step()
        assert training.run_epoch()[0]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    (head,), ours = training.learner.objective.weight, training.learner.method.backbone.plain_state()
    torch.testing.assert_close(head, model.head.weight, rtol=1e-4, atol=1e-4)
    for name, weight in model.visual.named_parameters():
        # The gradient of the keys' bias is zero but for rounding, of which AdamW makes a step of full size.
        if not name.endswith("in_proj_bias"):
            torch.testing.assert_close(ours[f"visual.{name}"], weight.detach(), rtol=1e-4, atol=1e-4)
            assert not torch.equal(weight, clip.visual.get_parameter(name))


@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_the_heads_rate_is_its_own_in_every_member(
    request: pytest.FixtureRequest, make_space: MakeSpace, which: str
) -> None:
    """Without an own one it is lr; where nothing else is trained, an own one takes the place of lr."""
    problem: Problem = request.getfixturevalue(which)
    rates = [{"lr": 1e-3}, {"lr": 0.5, "head_lr": 1e-3}, {"lr": 1e-3, "head_lr": 1e-2}]
    training = Training(problem, [make_space("linear", **own) for own in rates])
    training.run_epoch()
    first, second, third = training.learner.objective.weight
    assert torch.equal(first, second) and not torch.allclose(first, third, rtol=0, atol=1e-3)
