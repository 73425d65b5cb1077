import json
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from sklearn.neighbors import NearestNeighbors
from timm.data import resolve_model_data_config
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tools.tiny_dino.train import (
    Head,
    Recipe,
    balanced,
    dino_loss,
    features,
    figures,
    follow,
    knn_accuracy,
    koleo,
    momentum_at,
    pixels,
    train,
)
from tools.tiny_dino.views import GENTLE, WILD, Views
from trainables.backbones.tiny_dino import FIGURES, IMAGE_SIZE, MEAN, STD, WEIGHTS, open_tiny_dino
from trainables.data.drawing import FONTS, SYMBOLS, Style, draw
from trainables.data.glyphs import glyphs

Reached = dict[str, dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def model() -> VisionTransformer:
    return open_tiny_dino()


@pytest.fixture(scope="module")
def reached(model: VisionTransformer) -> Reached:
    torch.manual_seed(0)
    untrained = open_tiny_dino(pretrained=False)
    return {
        "trained": figures(partial(features, model)),
        "untrained": figures(partial(features, untrained)),
        "pixels": figures(pixels),
    }


@pytest.fixture
def images() -> Tensor:
    symbols = torch.arange(len(SYMBOLS))
    return draw(symbols, FONTS, Style(), IMAGE_SIZE, torch.Generator().manual_seed(1)).pixels / 255


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def test_the_model_is_timms_own_and_has_32_linear_layers_to_adapt(model: VisionTransformer) -> None:
    assert type(model) is VisionTransformer and not model.training
    assert sum(isinstance(layer, nn.Linear) for layer in model.blocks.modules()) == 32
    found = model(torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE))
    assert found.shape == (2, model.num_features) == (2, 64)


def test_timm_knows_how_the_model_sees_an_image(model: VisionTransformer) -> None:
    config = resolve_model_data_config(model)
    assert (config["mean"], config["std"]) == (MEAN, STD)
    assert config["input_size"] == (3, IMAGE_SIZE, IMAGE_SIZE)
    assert config["crop_pct"] == 1.0


def test_the_weights_are_small_and_all_of_the_model(model: VisionTransformer) -> None:
    assert WEIGHTS.stat().st_size <= 3e6
    shipped = load_file(WEIGHTS)
    assert shipped.keys() == model.state_dict().keys()
    assert all(torch.equal(value, shipped[name]) for name, value in model.state_dict().items())


def test_the_figures_that_ship_are_those_of_the_weights_that_ship(reached: Reached) -> None:
    written = json.loads(FIGURES.read_text())["knn_percent"]
    assert written.keys() == reached.keys()
    for what, sources in reached.items():
        for source, splits in sources.items():
            assert written[what][source] == pytest.approx(splits, abs=0.6)  # two of 360, as processors differ


def test_the_glyph_figure_is_what_sklearns_neighbours_vote(model: VisionTransformer) -> None:
    task = glyphs(IMAGE_SIZE)
    bank, queries = (F.normalize(features(model, split), dim=-1) for split in (task.train, task.val))
    finder = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute").fit(bank.numpy())
    distances, rows = finder.kneighbors(queries.numpy())
    right = 0
    for near, row, truth in zip(distances, rows, task.val.labels, strict=True):
        votes = torch.zeros(len(task.classes), dtype=torch.float64)
        for distance, neighbour in zip(near, row, strict=True):
            votes[task.train.labels[neighbour]] += torch.exp(torch.tensor((1 - distance) / 0.07))
        right += int(votes.argmax() == truth)
    written = json.loads(FIGURES.read_text())["knn_percent"]["trained"]["glyphs"]["val"]
    assert 100 * right / len(task.val) == pytest.approx(written, abs=0.6)


@pytest.mark.parametrize("split", ["val", "test"])
def test_letters_are_known_better_than_without_training_and_than_by_pixels(
    reached: Reached, split: str
) -> None:
    known = {what: sources["glyphs"][split] for what, sources in reached.items()}
    assert known["trained"] >= 80
    assert known["trained"] >= known["pixels"] + 20
    assert known["trained"] >= known["untrained"] + 20


def test_a_near_neighbour_outvotes_two_far_ones() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    queries = torch.tensor([[3.0, 1.0], [0.1, 0.2]])
    labels = torch.tensor([0, 1, 1])
    assert knn_accuracy(bank, labels, queries, torch.tensor([0, 1]), k=3) == 100
    assert knn_accuracy(bank, labels, queries, torch.tensor([1, 1]), k=3) == 50


@pytest.mark.parametrize("views", [GENTLE, WILD])
def test_views_depend_on_the_seed_alone(images: Tensor, views: Views) -> None:
    first, again, other = (views(images, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert first.min() >= 0 and first.max() <= 1


def test_a_view_that_strays_nowhere_is_the_image(images: Tensor) -> None:
    still = replace(GENTLE, rotation=0.0, scale=(1.0, 1.0), shift=0.0, repaint=0.0)
    torch.testing.assert_close(still(images, seeded(0)), images, atol=1e-5, rtol=0)


def test_a_repainted_view_tells_nothing_of_the_colours(images: Tensor) -> None:
    chalk = replace(GENTLE, rotation=0.0, scale=(1.0, 1.0), shift=0.0)
    once, again = chalk(images, seeded(0)), chalk(0.2 + 0.5 * images, seeded(0))
    torch.testing.assert_close(once, again, atol=1e-4, rtol=0)
    torch.testing.assert_close(once.amax((1, 2, 3)), torch.ones(len(images)), atol=1e-4, rtol=0)


def test_the_loss_is_torchs_cross_entropy_with_soft_targets() -> None:
    student = torch.randn(2, 5, 7, generator=seeded(0))
    targets = torch.randn(5, 7, generator=seeded(1)).softmax(-1)
    plain = sum(F.cross_entropy(view / 0.1, targets) for view in student) / 2
    torch.testing.assert_close(dino_loss(student, targets, 0.1), plain)


def test_balanced_targets_are_sinkhorns() -> None:
    logits = 3 * torch.randn(6, 4, generator=seeded(0), dtype=torch.float64)
    plan = logits.exp()
    for _ in range(3):
        plan = plan / plan.sum(0, keepdim=True) / 4  # every prototype alike
        plan = plan / plan.sum(1, keepdim=True) / 6  # every image alike
    torch.testing.assert_close(balanced(logits), 6 * plan)
    settled = balanced(logits, rounds=500)
    torch.testing.assert_close(settled.sum(0), torch.full((4,), 6 / 4, dtype=torch.float64))
    torch.testing.assert_close(settled.sum(1), torch.ones(6, dtype=torch.float64))


def test_koleo_is_the_log_of_sklearns_nearest_distances() -> None:
    found = torch.randn(2, 9, 4, generator=seeded(0), dtype=torch.float64)
    distances = []
    for view in F.normalize(found, dim=-1).numpy():
        near, _ = NearestNeighbors(n_neighbors=1).fit(view).kneighbors()  # none is its own neighbour
        distances.append(torch.from_numpy(near))
    expected = -torch.stack(distances).log().mean()
    torch.testing.assert_close(koleo(found), expected, atol=1e-4, rtol=0)  # pairwise_distance adds 1e-6


def test_koleo_stays_finite_where_two_images_are_alike() -> None:
    found = torch.ones(3, 4, requires_grad=True)
    koleo(found).backward()
    assert found.grad is not None and found.grad.isfinite().all()


def test_the_head_gives_cosines_with_prototypes() -> None:
    torch.manual_seed(0)
    head = Head(features=8, outputs=5)
    inputs = torch.randn(16, 8)
    with torch.no_grad():
        expected = F.cosine_similarity(head.mlp(inputs).unsqueeze(1), head.last.weight, dim=-1)
        torch.testing.assert_close(head(inputs), expected)


def test_the_teacher_is_torchs_exponential_moving_average() -> None:
    torch.manual_seed(0)
    student, teacher = nn.Linear(3, 2), nn.Linear(3, 2)
    averaged = AveragedModel(teacher, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(teacher)  # the first call copies
    start = teacher.weight.detach().clone()
    for _ in range(4):
        follow(teacher, student, 0.9)
        averaged.update_parameters(student)
    torch.testing.assert_close(teacher.weight, averaged.module.weight)
    torch.testing.assert_close(teacher.weight, 0.9**4 * start + (1 - 0.9**4) * student.weight)


def test_the_momentum_goes_to_one_along_half_a_cosine() -> None:
    recipe = Recipe(steps=100, momentum=0.9)
    assert momentum_at(0, recipe) == pytest.approx(0.9)
    assert momentum_at(50, recipe) == pytest.approx(0.95)
    assert momentum_at(100, recipe) == pytest.approx(1.0)


def test_training_is_seeded_and_lowers_the_loss() -> None:
    def trained() -> tuple[Tensor, list[float]]:
        torch.manual_seed(0)
        model, losses = train(open_tiny_dino(pretrained=False), Recipe(steps=12, batch_size=32))
        return torch.cat([value.flatten() for value in model.state_dict().values()]), losses

    first, losses = trained()
    second, _ = trained()
    assert torch.equal(first, second)
    assert sum(losses[-3:]) < sum(losses[:3])
