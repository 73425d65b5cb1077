"""What a GPU makes of the engine. Run where there is one, by ``pytest -m cuda``."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces import Resources, Space
from trainables import Problem
from trainables.backbones import KINDS
from trainables.data import ImageSet
from trainables.engine import training
from trainables.engine.prefix import Prefix
from trainables.engine.step import RecordedStep, Step
from trainables.engine.training import Training
from trainables.fine_tune import FineTune

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

MakeSpace = Callable[..., Space]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "price": ("selective_lora", {"lambda": 0.5, "score_lr": 0.2}),
    "free epoch": ("selective_lora", {"lambda": 0.5, "score_lr": 0.2, "free_epochs": 1}),
    "count": ("selective_lora", {"active_blocks": 2, "lambda": None}),
    "path": ("selective_lora", {"path": {"counts": [8, 4, 2], "dense": 0.2}, "lambda": None}),
    "mask": ("selective_lora", {"mask": ("image.1.fc2",)}),
    "taps": ("taps", {"lambda": 0.5, "score_lr": 0.2}),
    "lora": ("lora", {}),
    "ranks": ("adalora", {"rank_fraction": 0.1}),
    "priced ranks": ("codyra", {"kappa": 0.2}),
    "residual": ("keeplora", {}),
    "full": ("full", {}),
    "block expansion": ("block_expansion", {"layers": 1}),
    "random": ("random_blocks", {"active_blocks": 2}),
    "linear": ("linear", {}),
    "last layer": ("top_k", {"layers": 1}),
}


@pytest.fixture
def on_gpu(problem: Problem) -> Problem:
    return replace(problem.to("cuda"), reference={})


def trained(problem: Problem, spaces: list[Space], prefix: bool = False) -> Training:
    made = Training(problem, spaces, Prefix(problem.backbone, 1.0) if prefix else None)
    for _ in range(made.epochs):
        made.run_epoch()
    return made


def weights(made: Training) -> dict[str, Tensor]:
    return {name: p.detach().cpu() for name, p in made.learner.trained().items()}


def of(make_space: MakeSpace, method: str, **own: Any) -> Space:
    name, settings = METHODS[method]
    return make_space(name, settings, epochs=4, lr=1e-2, **own)


@pytest.mark.parametrize("method", METHODS)
def test_a_recorded_step_is_the_step(
    on_gpu: Problem, make_space: MakeSpace, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = [of(make_space, method)]
    recorded = trained(on_gpu, spaces)
    assert isinstance(recorded._step, RecordedStep) and recorded._step._recorded is not None
    monkeypatch.setattr(training, "RecordedStep", Step)
    plain = trained(on_gpu, spaces)
    assert recorded.learner.method.active_blocks() == plain.learner.method.active_blocks()
    torch.testing.assert_close(weights(recorded), weights(plain), rtol=1e-4, atol=1e-5)


SETTINGS: list[dict[str, Any]] = [
    {"clip_norm": 0.1},
    {"accumulate": 3},
    {"checkpointing": True},
    {"precision": "float16"},
    {"neighbors": 1.0},
    {"spd": 1.0},
]


@pytest.mark.parametrize("own", SETTINGS, ids=str)
@pytest.mark.parametrize("method", ["price", "full"])
def test_a_step_of_other_settings_is_recorded_too(
    on_gpu: Problem,
    make_space: MakeSpace,
    method: str,
    own: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spaces = [of(make_space, method, optimizer="sgd", **own)]
    recorded = trained(on_gpu, spaces)
    assert isinstance(recorded._step, RecordedStep) and recorded._step._recorded is not None
    monkeypatch.setattr(training, "RecordedStep", Step)
    torch.testing.assert_close(weights(recorded), weights(trained(on_gpu, spaces)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_trains_what_a_processor_trains(problem: Problem, make_space: MakeSpace, method: str) -> None:
    # AdamW makes a step of full length of a gradient that is rounding alone.
    spaces = [of(make_space, method, optimizer="sgd")]
    here, there = (trained(replace(problem, reference={}).to(device), spaces) for device in ("cpu", "cuda"))
    assert here.learner.method.active_blocks() == there.learner.method.active_blocks()
    torch.testing.assert_close(weights(there), weights(here), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("own", [{}, {"precision": "float16", "clip_norm": 0.1, "accumulate": 2}], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_host(
    on_gpu: Problem, make_space: MakeSpace, method: str, own: dict[str, Any]
) -> None:
    made = Training(on_gpu, [of(make_space, method, **own)])
    made.run_batches(made.batches)
    made.run_batches(made.batches)
    batches = list(made._drawn(made.batches))
    made.learner.method.advance(0)
    with waits_are_errors():
        # Where a count comes to rest, after the last one, blocks are left out for good.
        for number, batch in enumerate(batches[:-1], start=1):
            made._step.run(batch, 0, made._share(number))
            made.learner.method.advance(number)


class waits_are_errors:  # noqa: N801
    def __enter__(self) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *error: object) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("prefix", [False, True])
def test_a_pack_trains_as_its_members_alone(on_gpu: Problem, make_space: MakeSpace, prefix: bool) -> None:
    masks = [("image.1.fc2",), ("image.0.qkv", "image.1.fc1"), ("image.1.proj",)]
    spaces = [make_space("selective_lora", {"mask": mask}, epochs=3, lr=1e-2) for mask in masks]
    pack = weights(trained(on_gpu, spaces, prefix))
    for k, space in enumerate(spaces):
        alone = weights(trained(on_gpu, [space]))
        for name, weight in alone.items():
            torch.testing.assert_close(pack[name][k : k + 1], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_other_seeds_and_narrow_precisions(on_gpu: Problem, make_space: MakeSpace, precision: str) -> None:
    spaces = [of(make_space, "price", seed=seed, precision=precision) for seed in (0, 1)]
    made = trained(on_gpu, spaces)
    assert all(torch.isfinite(p).all() for p in made.learner.trained().values())
    assert [round(m["id_accuracy"], 6) for m in made.validate()]


def test_flyp_runs_operation_by_operation(on_gpu: Problem, make_space: MakeSpace) -> None:
    made = trained(on_gpu, [make_space("lora", {"towers": ("image", "text")}, objective="flyp")])
    assert isinstance(made._step, RecordedStep) and made._step._recorded is None


class Rows:
    """Pictures that have to be read."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.pixels[rows]

    def __len__(self) -> int:
        return len(self.pixels)


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_are_read_train_as_those_in_memory(
    on_gpu: Problem, make_space: MakeSpace, workers: int
) -> None:
    train = on_gpu.task.train
    read: Any = ImageSet(Rows(train.pixels.cpu()), train.labels)  # type: ignore[arg-type, union-attr]
    streamed = replace(on_gpu, task=replace(on_gpu.task, train=read), workers=workers)
    spaces = [of(make_space, "price")]
    torch.testing.assert_close(weights(trained(streamed, spaces)), weights(trained(on_gpu, spaces)))


def test_a_training_leaves_no_memory_behind(on_gpu: Problem, make_space: MakeSpace) -> None:
    def once() -> int:
        trained(on_gpu, [make_space("selective_lora", {"blocks": KINDS})] * 4)
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    once()
    assert once() == once()


ROOM = 2 * 2**30
# A member has 16 MiB of weights at one rank, and 1 GiB at the other; training takes several times as much.
FITS, TOO_LARGE = 4096, 2**18


@contextmanager
def little_memory() -> Iterator[None]:
    """torch's own allocator refuses what goes beyond the room, as it does at the end of the GPU's memory."""
    gc.collect()
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + ROOM) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def members(make_space: MakeSpace, folder: Path, count: int, rank: int) -> dict[str, Any]:
    resources = Resources(gpus_per_trial=1.0, cache_gib=0.0)
    space = make_space("lora", {"rank": rank}, epochs=1).model_copy(update={"resources": resources})
    return {
        "members": [{"key": str(k), "space": space, "folder": str(folder / f"{k}")} for k in range(count)]
    }


def test_a_pack_without_room_goes_on_in_smaller_ones_and_a_trial_without_room_fails(
    problem: Problem, make_space: MakeSpace, tmp_path: Path
) -> None:
    trainable = FineTune.__new__(FineTune)
    trainable.setup(members(make_space, tmp_path, 1, rank=2), problem, {})
    (warm,) = trainable.step()["members"]
    trainable.reset_config(members(make_space, tmp_path / "pack", 160, FITS))
    with little_memory():
        before = torch.cuda.memory_allocated()
        pack = trainable.step()
        assert [report["state"] for report in pack["members"]] == ["again"] * 160
        assert pack["members"][0]["reason"].startswith("out of memory in a pack of 160 (OutOfMemoryError")
        # What the pack had is free: its next members have the room.
        assert torch.cuda.memory_allocated() <= before + 2**20
        trainable.reset_config(members(make_space, tmp_path / "pack", 2, FITS))
        smaller = trainable.step()
        assert [report["state"] for report in smaller["members"]] == ["complete"] * 2
        trainable.reset_config(members(make_space, tmp_path / "large", 1, TOO_LARGE))
        (alone,) = trainable.step()["members"]
    assert alone["state"] == "failed" and alone["reason"].startswith(
        "out of memory: lower training.batch_size"
    )
    assert warm["state"] == "complete" and alone["epochs"] == []
