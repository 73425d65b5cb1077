import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from trainables import Problem, ProblemError
from trainables.export import Trained, load_adapter, write_adapter
from trainables.methods import METHODS

MakeTrained = Callable[..., Trained]

BOTH = {"towers": ("image", "text")}
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    *(("clip", name, {}, {}) for name in METHODS),
    *(("vit", name, {}, {}) for name in METHODS if name != "zero_shot"),
    *(("clip", name, BOTH, {"objective": "flyp"}) for name in ("selective_lora", "taps", "full")),
    *((library, "lora", {"blocks": ("q", "v")}, {}) for library in ("clip", "vit")),
]


@torch.no_grad()
@pytest.mark.parametrize(
    "library, name, method, training", CASES, ids=["-".join([c[0], c[1], *c[2], *c[3]]) for c in CASES]
)
def test_what_is_written_is_loaded(
    make_trained: MakeTrained,
    pixels: Tensor,
    tmp_path: Path,
    library: str,
    name: str,
    method: dict[str, Any],
    training: dict[str, Any],
) -> None:
    trained = make_trained(library, name, method, **training)
    problem = trained.training.problem
    before = {key: tensor.clone() for key, tensor in problem.backbone.plain_state().items()}
    write_adapter(trained, tmp_path)
    given = load_adapter(tmp_path, problem.backbone)

    torch.testing.assert_close(given.backbone(pixels), trained.method(pixels), rtol=1e-5, atol=1e-5)
    if method == BOTH:
        tokens = problem.prompts.tokens
        mine = trained.method.backbone.encode_text(tokens)
        torch.testing.assert_close(given.backbone.encode_text(tokens), mine, rtol=1e-5, atol=1e-5)
    assert given.head is not None and given.head.tensors().keys() == trained.head.tensors().keys()
    assert all(torch.equal(t, trained.head.tensors()[part]) for part, t in given.head.tensors().items())
    assert given.classes == problem.task.classes
    assert not any(p.requires_grad for p in given.backbone.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in problem.backbone.plain_state().items())


def test_ranks_that_change_nothing_are_left_out(make_trained: MakeTrained, tmp_path: Path) -> None:
    trained = make_trained("vit", "adalora", {"rank": 4, "rank_fraction": 0.3})
    write_adapter(trained, tmp_path)
    tensors = load_file(tmp_path / "adapter.safetensors")
    ranks = {name.removesuffix(".A"): len(tensor) for name, tensor in tensors.items() if name.endswith(".A")}
    assert min(ranks.values()) < 4 and set(ranks) == set(trained.method.active_blocks()[0])
    assert sum(ranks.values()) == round(0.3 * 4 * len(trained.method.blocks))
    assert all(tensors[f"{name}.B"].shape[1] == rank for name, rank in ranks.items())


def test_closed_blocks_are_left_out(make_trained: MakeTrained, tmp_path: Path) -> None:
    trained = make_trained("vit", "selective_lora", {"rank": 2})
    write_adapter(trained, tmp_path)
    tensors = load_file(tmp_path / "adapter.safetensors")
    (active,) = trained.method.active_blocks()
    assert 0 < len(active) < len(trained.method.blocks)
    expected = {f"{name}.{part}" for name in active for part in "AB"} | {"head.weight", "head.bias"}
    assert tensors.keys() == expected
    assert tensors["image.0.proj.A"].shape == (2, 32) and tensors["image.0.proj.B"].shape == (32, 2)


def test_of_the_weights_only_the_trained_ones_are_written(make_trained: MakeTrained, tmp_path: Path) -> None:
    write_adapter(make_trained("vit", "top_k"), tmp_path)
    names = load_file(tmp_path / "adapter.safetensors").keys() - {"head.weight", "head.bias"}
    assert names and all(name.startswith("vit.blocks.1.") for name in names)


def test_another_base_is_refused(problem: Problem, make_trained: MakeTrained, tmp_path: Path) -> None:
    write_adapter(make_trained("clip", "selective_lora"), tmp_path)
    other = copy.deepcopy(problem.backbone)
    with torch.no_grad():
        next(other.parameters())[0] += 1e-6
    with pytest.raises(ProblemError, match=r"trained on other weights.*open_clip's random-clip, 'random"):
        load_adapter(tmp_path, other)


def test_another_version_is_refused(problem: Problem, make_trained: MakeTrained, tmp_path: Path) -> None:
    write_adapter(make_trained("clip", "linear"), tmp_path)
    card = tmp_path / "adapter.json"
    card.write_text(card.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ProblemError, match="it has the format version 2, this is version 1"):
        load_adapter(tmp_path, problem.backbone)
