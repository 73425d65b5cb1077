"""Against peft, which loads what was written on the libraries' untouched models."""

import copy
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import CLIP
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from small_models import normalised
from torch import Tensor, nn

from trainables import Problem, ProblemError
from trainables.export import Trained, load_peft, write_peft

MakeTrained = Callable[..., Trained]

BOTH = {"towers": ("image", "text")}
KINDS = ("qkv", "proj", "fc1", "fc2")
CASES: list[tuple[str, dict[str, Any]]] = [
    ("selective_lora", {}),
    ("lora", {}),
    ("lora", {"blocks": ("q", "v")}),
    ("lora", {"blocks": ("qkv",)}),
    ("lora", {"blocks": ("proj",)}),
    # Of these every third is closed, so that layers differ in rank.
    ("selective_lora", {"blocks": ("q", "k", "v", "proj")}),
    ("random_blocks", {}),
    ("largest_norm", {}),
    ("oplora", {}),
    ("adalora", {"rank_fraction": 0.1}),
    ("codyra", {"kappa": 0.5}),
    ("keeplora", {}),
]
IDS = ["-".join([name, *settings.get("blocks", ())]) for name, settings in CASES]


def base_of(library: str, trained: Trained, clip: CLIP) -> nn.Module:
    """The untouched model as its library builds it."""
    return copy.deepcopy(clip if library == "clip" else trained.training.problem.backbone.vit)


def image_features(model: nn.Module, images: Tensor) -> Tensor:
    if hasattr(model, "encode_image"):
        return model.encode_image(images)
    return model.forward_head(model.forward_features(images), pre_logits=True)


@torch.no_grad()
@pytest.mark.parametrize("name, settings", CASES, ids=IDS)
@pytest.mark.parametrize("library", ["clip", "vit"])
def test_peft_gives_the_trained_model(
    clip: CLIP,
    make_trained: MakeTrained,
    pixels: Tensor,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    library: str,
    name: str,
    settings: dict[str, Any],
) -> None:
    trained = make_trained(library, name, settings)
    write_peft(trained, tmp_path)
    mine, images = trained.method(pixels), normalised(trained, pixels)
    assert not torch.allclose(mine, trained.training.problem.backbone(pixels), rtol=1e-2)

    loaded = PeftModel.from_pretrained(base_of(library, trained, clip), str(tmp_path))
    torch.testing.assert_close(image_features(loaded, images), mine, rtol=1e-5, atol=1e-5)
    assert not [warning for warning in recwarn if "adapter keys" in str(warning.message)]

    given = load_peft(tmp_path, trained.training.problem.backbone)
    torch.testing.assert_close(given.backbone(pixels), mine, rtol=1e-5, atol=1e-5)
    assert given.head is not None and torch.equal(given.head.weight, trained.head.weight)
    assert given.classes == trained.training.problem.task.classes


@torch.no_grad()
@pytest.mark.parametrize("closed", ["image", "text"])
def test_a_block_of_one_tower_is_not_taken_for_the_others(
    clip: CLIP, problem: Problem, make_trained: MakeTrained, pixels: Tensor, tmp_path: Path, closed: str
) -> None:
    """The path of the text tower's layers is the end of the path of the image tower's."""
    trained = make_trained("clip", "selective_lora", BOTH, objective="flyp")
    for place, name in enumerate(trained.method.blocks):
        trained.method.gates.scores[:, place] = float(not name.startswith(closed))
    write_peft(trained, tmp_path)
    loaded = PeftModel.from_pretrained(copy.deepcopy(clip), str(tmp_path))
    tokens = problem.prompts.tokens
    before = clip.encode_image(normalised(trained, pixels)), clip.encode_text(tokens)
    after = loaded.encode_image(normalised(trained, pixels)), loaded.encode_text(tokens)
    mine = trained.method(pixels), trained.method.backbone.encode_text(tokens)
    for place, tower in enumerate(("image", "text")):
        torch.testing.assert_close(after[place], mine[place], rtol=1e-5, atol=1e-5)
        assert torch.allclose(after[place], before[place], rtol=1e-4, atol=1e-5) == (tower == closed)


def test_closed_blocks_are_absent(make_trained: MakeTrained, tmp_path: Path) -> None:
    trained = make_trained("vit", "selective_lora")
    write_peft(trained, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    backbone = trained.training.problem.backbone
    expected = {backbone.linears[name].removeprefix("vit.") for name in trained.method.active_blocks()[0]}
    assert set(config["target_modules"]) == expected
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert {name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in tensors} == expected


@torch.no_grad()
@pytest.mark.parametrize("opened, closed", [("qkv", "proj"), ("proj", "qkv")])
def test_the_closed_half_of_a_multi_head_attention_is_unchanged(
    clip: CLIP, make_trained: MakeTrained, tmp_path: Path, opened: str, closed: str
) -> None:
    trained = make_trained("clip", "lora", {"blocks": (opened,)})
    write_peft(trained, tmp_path)
    merged = PeftModel.from_pretrained(copy.deepcopy(clip), str(tmp_path)).merge_and_unload()
    layers = zip(clip.visual.transformer.resblocks, merged.visual.transformer.resblocks, strict=True)
    for before, after in layers:
        halves = {
            "qkv": (before.attn.in_proj_weight, after.attn.in_proj_weight),
            "proj": (before.attn.out_proj.weight, after.attn.out_proj.weight),
        }
        assert torch.equal(*halves[closed])
        assert not torch.allclose(*halves[opened])


@torch.no_grad()
def test_an_adapter_that_peft_has_written_is_loaded(
    vit_problem: Problem, pixels: Tensor, tmp_path: Path
) -> None:
    config = LoraConfig(r=3, target_modules=["attn.qkv", "fc1"], init_lora_weights=False)
    theirs = get_peft_model(copy.deepcopy(vit_problem.backbone.vit), config)
    theirs.save_pretrained(str(tmp_path))
    given = load_peft(tmp_path, vit_problem.backbone)
    assert given.head is None and given.classes is None
    images = (pixels.float() / 255 - vit_problem.backbone.mean) / vit_problem.backbone.std
    torch.testing.assert_close(given.backbone(pixels), image_features(theirs, images), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(given.backbone(pixels), vit_problem.backbone(pixels), rtol=1e-2)


def test_a_folder_without_weights_is_refused_and_nothing_is_fetched(
    vit_problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """peft would ask the Hugging Face hub for a repository of the folder's name."""
    monkeypatch.chdir(tmp_path)
    folder = Path("someone") / "winner"
    LoraConfig(r=3, target_modules=["attn.qkv"]).save_pretrained(str(folder))
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: asked.append(arguments))
    with pytest.raises(ProblemError, match=r"has adapter_config.json but no weights: expects adapter_model"):
        load_peft(folder, vit_problem.backbone)
    assert not asked


@pytest.mark.parametrize("name", ["full", "taps", "block_expansion", "linear"])
def test_updates_of_full_rank_are_refused(make_trained: MakeTrained, tmp_path: Path, name: str) -> None:
    with pytest.raises(ProblemError, match=rf"^format: {name} has no low-rank updates.*merged or adapter$"):
        write_peft(make_trained("vit", name), tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_active_block_is_refused(make_trained: MakeTrained, tmp_path: Path) -> None:
    trained = make_trained("vit", "selective_lora")
    with torch.no_grad():
        trained.method.gates.scores.zero_()
    with pytest.raises(ProblemError, match=r"^format: no block is active.*use merged$"):
        write_peft(trained, tmp_path)


def test_without_peft_its_installation_is_named(
    make_trained: MakeTrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ProblemError, match=r'pip install "selective-lora-sweeper\[peft\]"'):
        write_peft(make_trained("vit", "lora"), tmp_path)
