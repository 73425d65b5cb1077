import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.metrics import recall_score
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from search_spaces import Space
from trainables import Problem, Training, measure_reference
from trainables.data import ImageSet
from trainables.engine.measures import Metrics
from trainables.engine.prefix import Prefix
from trainables.engine.training import learning_rate_share
from trainables.methods import METHODS
from trainables.methods.block_method import BlockMethod
from trainables.probes import ZeroShotProbe

MakeSpace = Callable[..., Space]

BLOCKS = 8
TIMED = {"seconds"}


def trained_through(problem: Problem, spaces: list[Space]) -> tuple[dict[str, Tensor], list[list[Metrics]]]:
    """Trained tensors, and the metrics of each member at every epoch and at the end."""
    training = Training(problem, spaces)
    rows = [training.run_epoch() for _ in range(training.epochs)] + [training.test()]
    tensors = {name: tensor.detach() for name, tensor in training.learner.trained().items()}
    return tensors, [[untimed(row[k]) for row in rows] for k in range(len(spaces))]


def untimed(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if name not in TIMED}


def test_a_pack_trains_as_its_members_alone(problem: Problem, make_space: MakeSpace) -> None:
    """To 1e-4: matrix products of a batch add up in another order than those of its parts."""
    spaces = [
        make_space("selective_lora", {"lambda": 0.0, "rank": 2}, lr=1e-2, seed=0),
        make_space("selective_lora", {"lambda": 2.0, "rank": 1, "alpha": 3.0}, lr=3e-3, seed=1),
        make_space("selective_lora", {"lambda": 0.5, "rank": 4, "score_lr": 0.3}, lr=2e-2, weight_decay=0.5),
    ]
    packed, packed_metrics = trained_through(problem, spaces)
    for k, space in enumerate(spaces):
        alone, (metrics,) = trained_through(problem, [space])
        for mine, theirs in zip(metrics, packed_metrics[k], strict=True):
            assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-4)
        for name, tensor in alone.items():
            shared = packed[name][(slice(k, k + 1), *(slice(0, size) for size in tensor.shape[1:]))]
            torch.testing.assert_close(shared, tensor, rtol=1e-4, atol=1e-4)
    losses = [rows[0]["loss"] for rows in packed_metrics]
    assert len(set(losses)) == 3


PACKABLE = [name for name, method in METHODS.items() if method.packable and name != "zero_shot"]
BOTH = {"towers": ("image", "text")}


def assert_packed_equals_solo(problem: Problem, spaces: list[Space], tolerance: float = 1e-4) -> None:
    packed, packed_metrics = trained_through(problem, spaces)
    for k, space in enumerate(spaces):
        alone, (metrics,) = trained_through(problem, [space])
        for mine, theirs in zip(metrics, packed_metrics[k], strict=True):
            assert theirs == pytest.approx(mine, rel=tolerance, abs=tolerance)
        for name, tensor in alone.items():
            shared = packed[name][(slice(k, k + 1), *(slice(0, size) for size in tensor.shape[1:]))]
            # AdamW's steps have one size: where a gradient is all rounding, so is the step's sign.
            torch.testing.assert_close(shared, tensor, rtol=1e-3, atol=1e-3)
    assert len({rows[0]["loss"] for rows in packed_metrics}) == len(spaces)


def spaces_of(make_space: MakeSpace, name: str, **training: Any) -> list[dict[str, Any]]:
    """Three members that differ in seed, rate, decay and whatever else a pack may vary."""
    settings: list[dict[str, Any]] = [{}, {}, {}]
    if "rank" in make_space(name).method:
        settings = [{"rank": 2}, {"rank": 1, "alpha": 3.0}, {"rank": 4}]
    if name in ("random_blocks", "largest_norm"):
        settings = [{**own, "active_blocks": count} for count, own in enumerate(settings, start=2)]
    rates = ((3e-3, 0.0), (1e-3, 0.1), (5e-3, 0.0))
    return [
        make_space(name, own, lr=lr, weight_decay=decay, seed=seed, **training)
        for seed, (own, (lr, decay)) in enumerate(zip(settings, rates, strict=True))
    ]


@pytest.mark.parametrize("which", ["problem", "timm_problem"])
@pytest.mark.parametrize("name", PACKABLE)
def test_every_method_that_packs_trains_as_its_members_alone(
    request: pytest.FixtureRequest, make_space: MakeSpace, name: str, which: str
) -> None:
    problem: Problem = request.getfixturevalue(which)
    spaces = [
        space.model_copy(update={"training": space.training.model_copy(update={"retention": weight})})
        for space, weight in zip(spaces_of(make_space, name), (0.0, 0.5, 2.0), strict=True)
    ]
    assert_packed_equals_solo(problem, spaces)


@pytest.mark.parametrize(
    "training",
    [
        {"crop": 0.4, "flip": True},
        {"optimizer": "sgd"},
        {"objective": "flyp", "flip": True},
        {"head": "fresh"},
        {"clip_norm": 0.2},
        {"accumulate": 3, "mixup": 0.3},
        {"checkpointing": True},
        {"precision": "float16", "clip_norm": 0.2},
    ],
    ids=str,
)
def test_a_pack_trains_as_its_members_alone_in_every_setting(
    problem: Problem, make_space: MakeSpace, training: dict[str, Any]
) -> None:
    spaces = spaces_of(make_space, "lora", **training)
    if training.get("objective") == "flyp":
        spaces = [s.model_copy(update={"method": s.method.model_copy(update=BOTH)}) for s in spaces]
    # A product of other shapes is rounded otherwise: to 2**-11 in float16.
    assert_packed_equals_solo(problem, spaces, 1e-3 if "precision" in training else 1e-4)


@pytest.mark.parametrize("name", ["selective_lora", "full", "linear"])
def test_a_seed_gives_the_same_numbers_again_and_another_seed_others(
    problem: Problem, make_space: MakeSpace, name: str
) -> None:
    (first, first_metrics), (again, again_metrics), (other, _) = (
        trained_through(problem, [make_space(name, seed=seed)]) for seed in (5, 5, 6)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first_metrics == again_metrics
    assert not any(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("zero_shot", "lp_ft")])
def test_training_learns(problem: Problem, make_space: MakeSpace, name: str) -> None:
    training = Training(problem, [make_space(name, epochs=6, lr=1e-2, head_lr=0.1, batch_size=24)])
    losses = [training.run_epoch()[0]["loss"] for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_learning_rate_rises_and_then_falls_to_zero() -> None:
    shares = [learning_rate_share(step, 100, 0.1) for step in range(1, 101)]
    assert shares[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert shares[54] == pytest.approx(0.5)
    assert shares[99] == pytest.approx(0, abs=1e-12)
    assert shares[9:] == sorted(shares[9:], reverse=True)


@pytest.mark.parametrize("steps, warmup", [(1, 0.0), (1, 0.05), (1, 0.99), (3, 0.0), (3, 0.99)])
def test_the_first_peak_is_reached_in_the_shortest_of_runs(steps: int, warmup: float) -> None:
    shares = [learning_rate_share(step, steps, warmup) for step in range(1, steps + 1)]
    assert max(shares) == 1 and min(shares) >= 0


def still(space: Space) -> Space:
    """With B at zero for ever, and so no gradient of the task on any score."""
    return space.model_copy(update={"training": space.training.model_copy(update={"lr": 0.0})})


@pytest.mark.parametrize("penalty, blocks", [("mean", BLOCKS), ("sum", 1)])
def test_a_score_that_the_task_leaves_alone_falls_by_the_price(
    problem: Problem, make_space: MakeSpace, penalty: str, blocks: int
) -> None:
    schedule = {"epochs": 4, "batch_size": 24, "warmup": 0.5}  # one step an epoch
    settings = [{"lambda": 0.2, "score_lr": 0.1}, {"lambda": 0.05, "score_lr": 0.3}]
    training = Training(
        problem,
        [still(make_space("selective_lora", {**s, "penalty": penalty}, **schedule)) for s in settings],
    )
    scores = training.learner.method.gates.scores
    for step in range(1, 5):
        before = scores.detach().clone()
        training.run_epoch()
        share = learning_rate_share(step, 4, 0.5)
        for k, s in enumerate(settings):
            fall = torch.full((BLOCKS,), s["score_lr"] * share * s["lambda"] / blocks)
            torch.testing.assert_close(before[k] - scores[k], fall, rtol=0, atol=1e-7)


def test_the_price_at_which_blocks_close_is_known_beforehand(problem: Problem, make_space: MakeSpace) -> None:
    """lambda = (initial - threshold) N / (score_lr * sum of shares), where the task has no say."""
    steps = 6
    shares = sum(learning_rate_share(step, steps, 0.05) for step in range(1, steps + 1))
    closing = (0.15 - 0.1) * BLOCKS / (0.1 * shares)
    prices = (0.0, 0.99 * closing, 1.01 * closing)
    training = Training(problem, [still(make_space("selective_lora", {"lambda": p})) for p in prices])
    first, last = training.run_epoch(), training.run_epoch()
    assert [member["active_blocks"] for member in first] == [BLOCKS] * 3
    assert [member["active_blocks"] for member in last] == [BLOCKS, BLOCKS, 0]


def test_a_higher_price_closes_more_blocks(problem: Problem, make_space: MakeSpace) -> None:
    settings = [{"lambda": price, "alpha": 16.0} for price in (0.0, 1.0, 5.0)]
    training = Training(problem, [make_space("selective_lora", s, epochs=4, lr=0.03) for s in settings])
    for _ in range(training.epochs):
        metrics = training.run_epoch()
    active = [member["active_blocks"] for member in metrics]
    assert active == sorted(active, reverse=True)
    assert active[0] > active[1] > active[2] == 0
    assert [member["active_fraction"] for member in metrics] == [count / BLOCKS for count in active]


def test_the_penalty_reaches_the_scores_alone(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("selective_lora", {"lambda": 0.4})])
    training.learner.method.penalty(0).sum().backward()
    reached = {name for name, p in training.learner.named_parameters() if p.grad is not None}
    assert reached == {"method.gates.scores"}
    scores = training.learner.method.gates.scores
    assert torch.allclose(scores.grad, torch.full_like(scores, 0.4 / BLOCKS))


def test_scores_are_left_to_their_own_optimiser(problem: Problem, make_space: MakeSpace) -> None:
    """At a score rate of zero they stay, whatever the rate and the decay of the weights."""
    settings = {"score_lr": 0.0, "lambda": 5.0}
    training = Training(problem, [make_space("selective_lora", settings, lr=0.1, weight_decay=0.5)])
    before = training.learner.method.gates.scores.detach().clone()
    training.run_epoch()
    assert torch.equal(training.learner.method.gates.scores, before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("name", ["selective_lora", "taps", "random_blocks"])
def test_a_block_that_is_closed_does_not_move(
    problem: Problem, make_space: MakeSpace, name: str, optimizer: str
) -> None:
    """Not by momentum and not by its decay, in the member in which it is closed; open ones go on."""
    shared = {"epochs": 4, "lr": 1e-2, "weight_decay": 0.5, "optimizer": optimizer}
    chosen: list[dict[str, Any]] = [{"active_blocks": 2}, {"active_blocks": 8}]
    priced: list[dict[str, Any]] = [{"lambda": 4.0}, {"lambda": 0.0}]
    spaces = [make_space(name, own, **shared) for own in (chosen if name == "random_blocks" else priced)]
    training = Training(problem, spaces)
    method, closed = training.learner.method, 0
    assert isinstance(method, BlockMethod)
    places = method.block_places()
    weights = [(places[id(p)], p) for p in training.learner.trained().values() if id(p) in places]
    for number, batch in enumerate((b for _ in range(4) for b in training._drawn(3)), start=1):
        is_open, before = method.open().bool().tolist(), [p.detach().clone() for _, p in weights]
        training.learner.loss(batch, 0).sum().backward()
        training._step.update(training._share(number))
        training.learner.method.advance(number)
        for (place, weight), old in zip(weights, before, strict=True):
            for k in range(2):
                moved = not torch.equal(weight[k], old[k])
                assert moved == is_open[k][place] or number == 12  # whose learning rate is 0
                closed += not is_open[k][place]
    assert closed > 0


@pytest.mark.parametrize(
    "name, parts",
    [
        ("selective_lora", {"objective", "gates", "down", "up"}),
        ("lora", {"objective", "down", "up"}),
        ("linear", {"objective"}),
        ("zero_shot", set()),
    ],
)
def test_only_what_the_method_names_is_trained(
    problem: Problem, make_space: MakeSpace, name: str, parts: set[str]
) -> None:
    names = Training(problem, [make_space(name)]).learner.trained()
    assert {part for part in ("objective", "gates", "down", "up") if any(part in n for n in names)} == parts
    assert all(any(part in name for part in parts) for name in names)


def test_full_fine_tuning_trains_the_image_tower_and_the_head(
    problem: Problem, make_space: MakeSpace
) -> None:
    names = Training(problem, [make_space("full")]).learner.trained()
    tower = {f"method.backbone.{name}" for name in problem.backbone.tower_parameters("image")}
    assert names.keys() == {"objective.weight"} | tower


def test_the_pre_trained_model_is_the_reference(problem: Problem, make_space: MakeSpace) -> None:
    reference = measure_reference(replace(problem, reference={}), make_space())
    training = Training(problem, [make_space("zero_shot")])
    assert training.epochs == 0
    assert {**training.validate()[0], **training.test()[0]} == reference == problem.reference
    assert reference["forgetting"] == reference["test/forgetting"] == reference["active_blocks"] == 0


def test_every_accuracy_goes_by_the_metric_of_its_set(problem: Problem, make_space: MakeSpace) -> None:
    """Against scikit-learn on the logits; the first class has eight pictures of ten, the second none."""
    rows = torch.tensor([0, 3, 6, 9, 0, 3, 6, 9, 2, 5])

    def uneven(images: ImageSet) -> ImageSet:
        return replace(images.chosen(rows), metric="mean_per_class")

    task = replace(problem.task, val=uneven(problem.task.val), test=uneven(problem.task.test))
    probe = ZeroShotProbe("shapes", task, problem.prompts)
    changed = replace(problem, task=task, ood={"noisy": uneven(problem.ood["noisy"])}, probes=(probe,))
    found = measure_reference(changed, make_space())
    learner = Training(changed, [make_space("zero_shot")]).learner
    encoder = learner.encoder()
    for name, images in (
        ("id_accuracy", task.val),
        ("test/id_accuracy", task.test),
        ("test/ood/noisy", changed.ood["noisy"]),
        ("probe/shapes", task.val),
        ("test/probe/shapes", task.test),
    ):
        logits = learner.objective.logits(encoder.parts(images), encoder)
        if "probe" in name:
            logits = probe.logits(encoder, images)
        answers = torch.cat(list(logits), dim=1)[0].argmax(dim=1)
        # scikit-learn's mean is over the classes that occur.
        expected = 100 * recall_score(images.labels, answers, labels=[0, 2], average="macro")
        assert found[name] == pytest.approx(expected), name


def test_what_is_reported(problem: Problem, make_space: MakeSpace) -> None:
    training = Training(problem, [make_space("selective_lora")])
    (epoch,), (test,) = training.run_epoch(), training.test()
    assert epoch.keys() == {
        "id_accuracy",
        "probe/shapes",
        "retained_accuracy",
        "forgetting",
        "active_blocks",
        "active_fraction",
        "trained_parameters",
        "epoch",
        "expected_active_blocks",
        "loss",
        "seconds",
    }
    assert test.keys() == {
        "test/id_accuracy",
        "test/ood/noisy",
        "test/ood_accuracy",
        "test/probe/shapes",
        "test/retained_accuracy",
        "test/forgetting",
    }
    assert epoch["epoch"] == 1 and all(math.isfinite(value) for value in (*epoch.values(), *test.values()))
    lost = problem.reference["probe/shapes"] - epoch["probe/shapes"]
    assert epoch["forgetting"] == pytest.approx(lost)
    lost = problem.reference["test/probe/shapes"] - test["test/probe/shapes"]
    assert test["test/forgetting"] == pytest.approx(lost)


class _Asked(TorchDispatchMode):
    """Writes down the operations that hand a value of a tensor to Python: on a GPU they wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal"):
            self.operations.append(name)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    "settings",
    [{"lambda": 5.0}, {"active_blocks": 2, "ramp": 0.9}, {"mask": ["image.0.fc1"]}],
    ids=["price", "falling count", "mask"],
)
def test_no_step_waits_for_the_device(
    problem: Problem, make_space: MakeSpace, settings: dict[str, Any]
) -> None:
    spaces = [make_space("selective_lora", settings, batch_size=8, epochs=2, crop=0.5) for _ in range(2)]
    training = Training(problem, spaces, Prefix(problem.backbone, 1.0))
    training.run_batches(1)
    for number, batch in enumerate(training._drawn(2), start=2):
        assert len(batch.pixels) == 8  # pictures are cut by processors
        with _Asked() as asked:
            training.learner.loss(batch, 0).sum().backward()
            training._step.update(training._share(number))
            training.learner.method.advance(number)
        assert asked.operations == []
