"""What a step does for less memory, and with gradients that are too long."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from search_spaces import Space
from trainables import Problem, Training
from trainables.engine.batch import Batch
from trainables.engine.clipping import ClipNorm
from trainables.engine.prefix import Prefix

MakeSpace = Callable[..., Space]

SHAPES = ((3, 5), (3, 4, 2), (3, 2, 2, 2))
LARGEST = [0.5, None, 100.0]


def test_every_member_is_clipped_as_torch_clips_it_alone() -> None:
    generator = Generator().manual_seed(0)
    packed = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    gradients = [torch.randn(shape, generator=generator) for shape in SHAPES]
    for weight, gradient in zip(packed, gradients, strict=True):
        weight.grad = gradient.mT.contiguous().mT if gradient.ndim > 2 else gradient.clone()
    ClipNorm(packed, LARGEST)()
    for k, largest in enumerate(LARGEST):
        alone = [nn.Parameter(torch.zeros(shape[1:])) for shape in SHAPES]
        for weight, gradient in zip(alone, gradients, strict=True):
            weight.grad = gradient[k].clone()
        if largest is not None:
            nn.utils.clip_grad_norm_(alone, largest)
        for mine, theirs in zip(packed, alone, strict=True):
            torch.testing.assert_close(mine.grad[k], theirs.grad)


def test_weights_of_one_member_have_any_shape() -> None:
    weights = [nn.Parameter(torch.ones(shape)) for shape in ((), (2,), (3, 2))]
    for weight in weights:
        weight.grad = torch.full_like(weight, 4.0)
    ClipNorm([*weights, nn.Parameter(torch.ones(2))], [1.0])()
    assert torch.cat([weight.grad.flatten() for weight in weights]).norm().item() == pytest.approx(1)
    ClipNorm([], [1.0])()


def test_a_price_keeps_its_weight_where_gradients_are_clipped(
    problem: Problem, make_space: MakeSpace
) -> None:
    """With B at zero, the price alone moves the scores in the first step."""
    both = [
        Training(problem, [make_space("selective_lora", {"lambda": 2.0}, clip_norm=largest)])
        for largest in (None, 1e-6)
    ]
    for made in both:
        made.run_batches(1)
    free, clipped = (made.learner.method.gates.scores for made in both)
    assert torch.equal(free, clipped) and free.unique().numel() == 1
    assert not torch.equal(*(made.learner.objective.weight for made in both))


def trained(problem: Problem, space: Space, prefix: bool = False) -> dict[str, Tensor]:
    made = Training(problem, [space], Prefix(problem.backbone, 1.0) if prefix else None)
    losses = [made.train_epoch() for _ in range(made.epochs)]
    return {"losses": torch.stack(losses), **{n: p.detach() for n, p in made.learner.trained().items()}}


PLAIN: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "batch_size": 12}


@pytest.mark.parametrize("accumulate", [2, 5, 100])
@pytest.mark.parametrize(
    ("method", "training"),
    [
        (("selective_lora", {"lambda": 0.5}), {"clip_norm": 0.5}),
        (("taps", {"lambda": 0.5}), {"retention": 0.5, "label_smoothing": 0.1}),
        (("full", {}), {"mixup": 0.3, "crop": 0.5}),
        (("top_k", {"layers": 1}), {"crop": 0.5}),
        (("top_k", {"layers": 1}), {}),
    ],
    ids=["price", "retention", "mixup", "cropped", "remembered"],
)
def test_a_step_in_parts_is_the_step(
    problem: Problem,
    make_space: MakeSpace,
    method: tuple[str, dict[str, Any]],
    training: dict[str, Any],
    accumulate: int,
) -> None:
    plain, parts = (make_space(*method, **PLAIN, **training, accumulate=n) for n in (1, accumulate))
    torch.testing.assert_close(
        trained(problem, parts, prefix=True), trained(problem, plain, prefix=True), rtol=1e-4, atol=1e-5
    )


def test_no_more_pictures_than_a_part_pass_the_model_together(
    problem: Problem, make_space: MakeSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Training(problem, [make_space("lora", batch_size=10, accumulate=4)] * 2)
    sizes: list[int] = []
    before = made.learner.loss

    def counted(batch: Batch, epoch: int) -> Tensor:
        sizes.append(len(batch.pixels))
        return before(batch, epoch)

    monkeypatch.setattr(made.learner, "loss", counted)
    made.run_batches(1)
    assert sizes == [3, 3, 2, 2]


def kept_bytes(problem: Problem, space: Space) -> tuple[int, list[Tensor]]:
    """What a loss keeps for its backward pass, and the gradients."""
    made = Training(problem, [space] * 2 if space.method.name != "full" else [space])
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = made.learner.loss(next(made._drawn(1)), 0)
    loss.sum().backward()
    return sum(kept.values()), [p.grad for p in made.learner.trained().values() if p.grad is not None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["selective_lora", "taps", "lora", "full"])
@pytest.mark.parametrize("which", ["problem", "timm_problem"])
def test_layers_that_are_run_again_give_the_same_gradients_and_keep_less(
    request: pytest.FixtureRequest, make_space: MakeSpace, which: str, name: str, precision: str
) -> None:
    problem: Problem = request.getfixturevalue(which)
    spaces = (make_space(name, batch_size=24, precision=precision, checkpointing=on) for on in (False, True))
    (all_kept, plain), (few_kept, again) = (kept_bytes(problem, space) for space in spaces)
    assert len(plain) == len(again) and all(map(torch.equal, plain, again))
    assert few_kept < 0.6 * all_kept


def test_gates_learn_through_layers_that_are_run_again(problem: Problem, make_space: MakeSpace) -> None:
    """Blocks that are closed and open, over epochs: the scores' gradients go through both runs."""
    settings = {"active_blocks": 3, "lambda": None}
    plain, again = (
        trained(problem, make_space("selective_lora", settings, lr=1e-2, epochs=3, checkpointing=on))
        for on in (False, True)
    )
    assert plain.keys() == again.keys() and all(torch.equal(plain[name], again[name]) for name in plain)
