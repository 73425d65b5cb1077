"""Full fine-tuning of one tower or both, and LP-FT, which begins at scikit-learn's optimum."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones import Backbone, ClipBackbone, TimmBackbone
from trainables.data import ImageSet
from trainables.engine import checkpoint
from trainables.engine.linear_fit import DECAY
from trainables.engine.objectives import FreshHead
from trainables.export import Head
from trainables.methods import Method

MakePack = Callable[..., Method]
MakeSpace = Callable[..., Space]


def trained_names(method: Method) -> set[str]:
    return {name for name, p in method.backbone.named_parameters() if p.requires_grad}


def test_all_of_a_timm_model_trains_but_its_classifier(
    timm_backbone: TimmBackbone, make_pack: MakePack
) -> None:
    method = make_pack(timm_backbone, "full", {})
    names = {name for name, _ in timm_backbone.named_parameters()}
    assert trained_names(method) == names - {"vit.head.weight", "vit.head.bias"}


@pytest.mark.parametrize(
    ("towers", "left_out"),
    [
        (("image",), lambda name: not name.startswith("clip.visual.")),
        (("text",), lambda name: name.startswith(("clip.visual.", "clip.logit_scale"))),
        (("image", "text"), lambda name: name == "clip.logit_scale"),
    ],
    ids=["image", "text", "both"],
)
def test_the_named_towers_of_a_clip_train(
    backbone: ClipBackbone,
    make_pack: MakePack,
    towers: tuple[str, ...],
    left_out: Callable[[str], bool],
) -> None:
    method = make_pack(backbone, "full", {"towers": towers})
    assert trained_names(method) == {n for n, _ in backbone.named_parameters() if not left_out(n)}


def test_gradients_are_the_plain_models(any_backbone: Backbone, make_pack: MakePack, pixels: Tensor) -> None:
    method = make_pack(any_backbone, "full", {})
    method(pixels).square().sum().backward()
    plain = copy.deepcopy(any_backbone).requires_grad_(True)
    plain(pixels).square().sum().backward()
    expected = dict(plain.named_parameters())
    for name in trained_names(method):
        gradient = method.backbone.get_parameter(name).grad
        torch.testing.assert_close(gradient, expected[name].grad, rtol=1e-5, atol=1e-5)
    assert all(p.grad is None for p in any_backbone.parameters())


def test_flyp_moves_every_weight_of_both_towers(problem: Problem, make_space: MakeSpace) -> None:
    space = make_space("full", {"towers": ("image", "text")}, objective="flyp", lr=1e-3, batch_size=24)
    training = Training(problem, [space])
    first, second = (training.run_epoch()[0]["loss"] for _ in range(2))
    assert second < first
    before = problem.backbone.state_dict()
    after = training.learner.method.backbone.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == trained_names(training.learner.method)


@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_lp_ft_begins_with_scikit_learns_head(
    request: pytest.FixtureRequest, make_space: MakeSpace, which: str
) -> None:
    problem: Problem = request.getfixturevalue(which)
    train = problem.task.train
    training = Training(problem, [make_space("lp_ft", lr=1e-3, batch_size=len(train))])
    training.learner.fit_head()
    objective = training.learner.objective
    with torch.no_grad():
        features = problem.backbone(train.pixels)
    fresh = isinstance(objective, FreshHead)
    scale = 1.0 if fresh else problem.backbone.logit_scale
    inputs = features if fresh else scale * F.normalize(features, dim=-1)
    oracle = LogisticRegression(C=1 / (DECAY * len(train)), fit_intercept=fresh, tol=1e-8, max_iter=10_000)
    oracle.fit(inputs.double().numpy(), train.labels.numpy())
    expected = torch.from_numpy(oracle.decision_function(inputs.double().numpy())).float()
    mine = objective.head(features[None])[0]
    torch.testing.assert_close(mine.softmax(dim=1), expected.softmax(dim=1), rtol=0, atol=5e-3)
    coefficients = scale * torch.tensor(oracle.coef_).float()
    torch.testing.assert_close(objective.weight[0], coefficients, rtol=0.02, atol=0.02 * scale)

    # Training begins there: with all rows in one batch, its first loss is the optimum's.
    expected_loss = F.cross_entropy(expected, train.labels).item()
    assert training.run_epoch()[0]["loss"] == pytest.approx(expected_loss, rel=2e-2)
    start = problem.backbone.state_dict()
    moved = training.learner.method.backbone.state_dict()
    names = trained_names(training.learner.method)
    assert names == set(problem.backbone.tower_parameters("image"))
    assert not any(torch.equal(moved[name], start[name]) for name in names)
    assert not torch.allclose(objective.weight[0], coefficients, rtol=0, atol=1e-5)


class UnreadablePixels:
    """Pictures that are not there."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, rows: Tensor) -> Tensor:
        raise OSError("there are no pictures")

    def picture(self, row: int) -> Tensor:
        raise OSError("there are no pictures")

    def made_ready(self) -> "UnreadablePixels":
        return self


@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_the_head_is_fitted_where_training_begins_and_never_again(
    request: pytest.FixtureRequest, make_space: MakeSpace, which: str
) -> None:
    """What was saved is restored, measured and exported without the pictures that it was fitted to."""
    problem: Problem = request.getfixturevalue(which)
    space = make_space("lp_ft", lr=1e-3)
    through, first = Training(problem, [space]), Training(problem, [space])
    first.run_epoch()
    expected = [{**through.run_epoch()[0], "seconds": 0.0} for _ in range(2)]
    gone = replace(
        problem, task=replace(problem.task, train=ImageSet(UnreadablePixels(), problem.task.train.labels))
    )
    with pytest.raises(OSError, match="there are no pictures"):
        Training(gone, [space]).run_epoch()
    elsewhere = Training(gone, [space])
    checkpoint.restore(elsewhere, 0, checkpoint.capture(first, 0, []))
    assert elsewhere.test() == first.test()
    assert torch.equal(Head.of(elsewhere.learner).weight, Head.of(first.learner).weight)

    resumed = Training(problem, [space])
    checkpoint.restore(resumed, 0, checkpoint.capture(first, 0, []))
    assert {**resumed.run_epoch()[0], "seconds": 0.0} == expected[1]
