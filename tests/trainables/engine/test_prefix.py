"""Shared and remembered first layers against every layer for every member."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from search_spaces import Space
from trainables import Problem, Training
from trainables.backbones.forward_pass import Entry, run, run_layers
from trainables.engine.batch import Batch
from trainables.engine.prefix import Prefix
from trainables.methods.block_method import BlockMethod

MakeSpace = Callable[..., Space]


@pytest.fixture(params=["problem", "timm_problem"], ids=["open_clip", "timm"])
def any_problem(request: pytest.FixtureRequest) -> Problem:
    problem: Problem = request.getfixturevalue(request.param)
    return problem


def trained(problem: Problem, spaces: list[Space], prefix: Prefix | None) -> list[dict[str, float]]:
    """Metrics of every epoch and of the test splits, one row a member and epoch."""
    training = Training(problem, spaces, prefix)
    rows = [metrics for _ in range(training.epochs) for metrics in training.run_epoch()]
    return [{n: v for n, v in row.items() if n != "seconds"} for row in [*rows, *training.test()]]


def agree(problem: Problem, spaces: list[Space], prefix: Prefix) -> None:
    plain, shared = trained(problem, spaces, None), trained(problem, spaces, prefix)
    for theirs, ours in zip(plain, shared, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def a_member(number: int, make_space: MakeSpace, problem: Problem) -> dict[str, Any]:
    """A member of a pack of gated methods: other blocks, another rank, seed and rate each time."""
    draw = random.Random(number)
    backbone = problem.backbone
    blocks = backbone.block_names(("qkv", "proj", "fc1", "fc2"), ("image",))
    chosen = draw.choice(
        [
            {"mask": draw.sample(blocks, draw.randint(1, 3))},
            {"active_blocks": draw.randint(1, 3), "ramp": draw.choice([0.3, 0.6])},
            {"lambda": draw.choice([0.1, 5.0])},
        ]
    )
    return make_space(
        "selective_lora",
        {**chosen, "rank": draw.choice([1, 2, 4]), "score_lr": 0.5},
        seed=draw.choice([0, 0, 1]),
        lr=draw.choice([1e-2, 3e-3]),
        epochs=3,
    )


@pytest.mark.parametrize("gib", [0.0, 1.0], ids=["run again", "remembered"])
@pytest.mark.parametrize("number", range(6))
def test_a_pack_trains_as_without_sharing(
    any_problem: Problem, make_space: MakeSpace, number: int, gib: float
) -> None:
    """On random packs; to the fourth digit, since products of other shapes round otherwise."""
    size = random.Random(number).randint(1, 4)
    spaces = [a_member(10 * number + k, make_space, any_problem) for k in range(size)]
    agree(any_problem, spaces, Prefix(any_problem.backbone, gib))


@pytest.mark.parametrize("gib", [0.0, 1.0], ids=["run again", "remembered"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("linear", {}),
        ("lora", {}),
        ("random_blocks", {"active_blocks": 2}),
        ("largest_norm", {"active_blocks": 2}),
        ("oplora", {}),
        ("adalora", {"rank_fraction": 0.05}),
        ("codyra", {"kappa": 0.5}),
        ("keeplora", {}),
        ("taps", {}),
        ("top_k", {"layers": 1}),
        ("block_expansion", {"layers": 1}),
        ("full", {}),
    ],
)
def test_every_method_trains_as_without_sharing(
    any_problem: Problem, make_space: MakeSpace, name: str, settings: dict[str, Any], gib: float
) -> None:
    space = make_space(name, settings, retention=0.5, crop=0.5, flip=True)
    agree(any_problem, [space], Prefix(any_problem.backbone, gib))
    agree(any_problem, [make_space(name, settings, retention=0.5)], Prefix(any_problem.backbone, gib))


def test_blocks_of_the_text_tower_leave_the_image_tower_to_be_shared(
    problem: Problem, make_space: MakeSpace
) -> None:
    space = make_space(
        "selective_lora", {"towers": ("image", "text"), "mask": ["text.0.qkv"]}, objective="flyp"
    )
    assert Training(problem, [space]).learner.method.frozen_layers() == [problem.backbone.depth("image")]
    agree(problem, [space], Prefix(problem.backbone, 1.0))


def test_in_bfloat16_too(any_problem: Problem, make_space: MakeSpace) -> None:
    """What is remembered in one precision is not used in the other."""
    prefix = Prefix(any_problem.backbone, 1.0)
    last = any_problem.backbone.block_names(("fc2",), ("image",))[-1]
    for precision in ("float32", "bfloat16"):
        space = make_space("selective_lora", {"mask": [last]}, precision=precision)
        plain, shared = (trained(any_problem, [space], given) for given in (None, prefix))
        assert [row.get("loss") for row in shared] == pytest.approx(
            [row.get("loss") for row in plain], abs=2e-2
        )
    assert len({autocast for _, autocast in prefix._known}) == 2


@pytest.mark.parametrize("start", [0, 1, 2])
def test_the_parts_of_a_model_are_the_model(any_problem: Problem, start: int) -> None:
    backbone, pixels = any_problem.backbone, any_problem.task.val.pixels
    assert backbone.depth("image") == 2
    with torch.no_grad():
        whole = backbone(pixels)
        reached = run(backbone, [Entry(0, pixels)], start)
        assert torch.equal(run(backbone, [Entry(start, reached)]), whole)
        assert torch.equal(backbone(pixels), whole)  # It is left as it was.


def test_rows_join_in_the_order_of_their_entries(any_problem: Problem) -> None:
    backbone, pixels = any_problem.backbone, any_problem.task.val.pixels
    parts = pixels.split(4)
    with torch.no_grad():
        entries = [Entry(n, run(backbone, [Entry(0, part)], n)) for n, part in enumerate(parts)]
        torch.testing.assert_close(run(backbone, entries), backbone(pixels), rtol=1e-4, atol=1e-5)


def test_the_loop_over_the_layers_can_be_compiled(any_problem: Problem, make_space: MakeSpace) -> None:
    """Whole, without a break, with members that enter at other layers; forward and backward."""
    first, last = (any_problem.backbone.block_names(("fc2",), ("image",))[place] for place in (0, -1))
    spaces = [make_space("selective_lora", {"mask": [name]}) for name in (last, first, last)]
    training = Training(any_problem, spaces, Prefix(any_problem.backbone, 1.0))
    training.run_batches(1)  # B is zero at the start, and so would be the gradient of A.
    method, pixels = training.learner.method, any_problem.task.val.pixels[torch.arange(4)]
    given: list[Any] = []
    with torch.no_grad():
        any_problem.backbone.around(pixels, lambda tokens, args: (given.extend([tokens, args]), tokens)[1])
        embedded, arguments = given
        tokens = run_layers(any_problem.backbone.image_layers()[:1], arguments, {0: embedded})
    arriving = {0: embedded, 1: tokens.repeat(2, 1, 1)}

    def passed(loop: Callable[..., Any]) -> list[torch.Tensor]:
        with method.entered([(0, [1]), (1, [0, 2])]):
            after = loop(method.backbone.image_layers(), arguments, arriving)
        after.square().mean().backward()
        trained = [p for p in method.parameters() if p.requires_grad]
        gradients = [p.grad.clone() for p in trained if p.grad is not None]
        for p in trained:
            p.grad = None
        return [after.detach(), *gradients]

    plain = passed(run_layers)
    compiled = passed(torch.compile(run_layers, backend="aot_eager", fullgraph=True))
    assert len(plain) > 2
    torch.testing.assert_close(compiled, plain)


def test_a_frozen_layer_is_run_once_for_a_set_and_not_at_all_where_it_is_remembered(
    problem: Problem, make_space: MakeSpace
) -> None:
    last = problem.backbone.block_names(("fc2",), ("image",))[-1]
    training = Training(
        problem,
        [make_space("selective_lora", {"mask": [last]}, epochs=3) for _ in range(3)],
        Prefix(problem.backbone, 1.0),
    )
    rows: list[int] = []
    first = problem.backbone.get_submodule(problem.backbone.linears["image.0.fc1"])
    first.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    for _ in range(3):
        training.run_epoch()
    sets = (problem.task.train, problem.task.val, problem.probes[0].task.val)  # type: ignore[attr-defined]
    # One picture of each set more, which tells how much there would be to remember.
    assert sum(rows) == sum(len(images) + 1 for images in sets)


def test_backward_ends_at_each_members_first_block(problem: Problem, make_space: MakeSpace) -> None:
    """Rows of a member enter the trained model at the layer of its own first block, not of the pack's."""
    first, last = (problem.backbone.block_names(("fc2",), ("image",))[place] for place in (0, -1))
    spaces = [make_space("selective_lora", {"mask": [name]}) for name in (last, first, last)]
    training = Training(problem, spaces, Prefix(problem.backbone, 1.0))
    method = training.learner.method
    assert isinstance(method, BlockMethod) and method.frozen_layers() == [1, 0, 1]
    rows: dict[str, int] = {}
    for name in (first, last):
        layer = method.backbone.get_submodule(method.backbone.linears[name])
        layer.register_forward_hook(lambda _, i, o, name=name: rows.update({name: len(o)}))
    training.run_batches(1)
    assert rows == {first: training.batch_size, last: 3 * training.batch_size}


def test_what_does_not_fit_is_not_remembered(problem: Problem) -> None:
    images = problem.task.train
    batch = Batch(images, torch.arange(len(images))[None])
    roomy, tight = Prefix(problem.backbone, 1.0), Prefix(problem.backbone, 1e-9)
    for prefix in (roomy, tight):
        prefix.before(batch, 1, [0])
    assert [len(known.inputs) for p in (roomy, tight) for known in p._known.values()] == [1, 0]
    roomy.forget()
    assert not roomy._known


def test_members_that_see_the_same_pictures_are_given_them_once(
    problem: Problem, make_space: MakeSpace
) -> None:
    """Also with other ranks; not with other seeds."""

    def batches(*members: dict[str, Any]) -> list[int]:
        spaces = [
            make_space("selective_lora", {"rank": own.pop("rank", 2)}, crop=0.5, flip=True, **own)
            for own in members
        ]
        return [len(batch.rows) for batch in Training(problem, spaces)._drawn(3)]

    assert batches({"rank": 1}, {"rank": 4}, {"lr": 0.1}) == [1, 1, 1]
    assert batches({"seed": 1}, {"seed": 2}) == [2, 2, 2]
