"""Against the libraries that load what was written."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file
from small_models import CLIP_CONFIG, CLIP_NAME, new_vit, normalised
from timm.models import load_checkpoint, save_for_hf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import Model, Space
from trainables import Problem, ProblemError, Training
from trainables.backbones import Backbone, open_backbone, open_clip_backbone
from trainables.backbones.tiny_clip import MERGES
from trainables.export import Trained, load_merged, write_merged

MakeTrained = Callable[..., Trained]
MakeSpace = Callable[..., Space]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("selective_lora", {}),
    ("lora", {"blocks": ("q", "v")}),
    ("random_blocks", {}),
    ("adalora", {"rank_fraction": 0.1}),
    ("codyra", {"kappa": 0.5}),
    ("keeplora", {"rank": 4}),
    ("taps", {}),
    ("full", {}),
    ("top_k", {}),
    ("linear", {}),
]
IDS = [name for name, _ in CASES]


def open_written(library: str, folder: Path) -> nn.Module:
    """The model as a person opens it who has only the library."""
    if library == "clip":
        return open_clip.create_model(CLIP_NAME, pretrained=str(folder / "model.safetensors")).eval()
    vit = new_vit()
    load_checkpoint(vit, str(folder / "model.safetensors"), strict=True)
    return vit


def features(model: nn.Module, images: Tensor) -> Tensor:
    if isinstance(model, CLIP):
        return model.encode_image(images)
    return model.forward_head(model.forward_features(images), pre_logits=True)


@torch.no_grad()
@pytest.mark.parametrize("name, settings", CASES, ids=IDS)
@pytest.mark.parametrize("library", ["clip", "vit"])
def test_the_library_loads_the_trained_model(
    make_trained: MakeTrained,
    pixels: Tensor,
    tmp_path: Path,
    library: str,
    name: str,
    settings: dict[str, Any],
) -> None:
    trained = make_trained(library, name, settings)
    write_merged(trained, tmp_path)
    model, images = open_written(library, tmp_path), normalised(trained, pixels)
    mine, theirs = trained.method(pixels), features(model, images)
    torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=1e-5)
    if name != "linear":
        assert not torch.allclose(mine, trained.training.problem.backbone(pixels), rtol=1e-2)

    head = load_file(tmp_path / "head.safetensors")
    card = json.loads((tmp_path / "export.json").read_text())
    if "bias" in head:
        logits = F.linear(theirs, head["weight"], head["bias"])
    else:
        logits = F.normalize(theirs, dim=-1) @ head["weight"].T
    ((expected,),) = trained.training.learner.objective.logits(
        [mine[None]], trained.training.learner.encoder()
    )
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert card["classes"] == list(trained.training.problem.task.classes)
    assert card["metrics"] == trained.metrics


@torch.no_grad()
def test_it_costs_what_the_pre_trained_model_costs(
    clip: CLIP, make_trained: MakeTrained, pixels: Tensor, tmp_path: Path
) -> None:
    for library, before in (("clip", copy.deepcopy(clip)), ("vit", new_vit())):
        folder = tmp_path / library
        folder.mkdir()
        trained = make_trained(library, "selective_lora")
        write_merged(trained, folder)
        counts = []
        for model in (before, open_written(library, folder)):
            with FlopCounterMode(display=False) as counter:
                features(model, normalised(trained, pixels))
            counts.append(counter.get_total_flops())
        assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("library", ["clip", "vit"])
def test_with_every_gate_closed_the_weights_are_the_pre_trained_ones_to_the_bit(
    make_trained: MakeTrained, tmp_path: Path, library: str
) -> None:
    trained = make_trained(library, "selective_lora")
    with torch.no_grad():
        trained.method.gates.scores.zero_()
    write_merged(trained, tmp_path)
    written, before = (
        load_file(tmp_path / "model.safetensors"),
        trained.training.problem.backbone.plain_state(),
    )
    assert written.keys() == before.keys()
    assert all(torch.equal(written[name], before[name]) for name in before)


def test_the_models_own_classifier_is_untouched(make_trained: MakeTrained, tmp_path: Path) -> None:
    trained = make_trained("vit", "full")
    write_merged(trained, tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    classifier = trained.training.problem.backbone.classifier
    assert torch.equal(written["head.weight"], classifier.weight)
    assert torch.equal(written["head.bias"], classifier.bias)
    assert load_file(tmp_path / "head.safetensors")["weight"].shape == (3, 32)


@torch.no_grad()
def test_a_text_tower_is_merged_too_and_names_the_classes(
    problem: Problem, make_trained: MakeTrained, tmp_path: Path
) -> None:
    trained = make_trained("clip", "lora", {"towers": ("image", "text")}, objective="flyp")
    write_merged(trained, tmp_path)
    model = open_written("clip", tmp_path)
    theirs = model.encode_text(problem.prompts.tokens)
    torch.testing.assert_close(
        theirs, trained.method.backbone.encode_text(problem.prompts.tokens), rtol=1e-5, atol=1e-5
    )
    # Two templates a class.
    means = F.normalize(theirs, dim=-1).view(3, 2, -1).mean(dim=1)
    head = load_file(tmp_path / "head.safetensors")
    assert head.keys() == {"weight"}
    scale = model.logit_scale.exp()
    torch.testing.assert_close(head["weight"], scale * F.normalize(means, dim=-1), rtol=1e-5, atol=1e-4)
    assert not torch.allclose(head["weight"], scale * problem.class_vectors, rtol=1e-2)


def test_a_space_can_name_the_folder_of_a_clip(
    make_trained: MakeTrained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = make_trained("clip", "selective_lora")
    write_merged(trained, tmp_path)
    # The tokenizer that open_clip takes by default has more words than the small model.
    words = SimpleTokenizer(bpe_path=str(MERGES), context_length=16)
    monkeypatch.setattr("open_clip.get_tokenizer", lambda _: words)
    opened = open_clip_backbone(f"local-dir:{tmp_path}")
    written = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in opened.plain_state().items())
    assert opened.preprocessing == trained.training.problem.backbone.preprocessing


SENTENCES = ("a red letter", "a digit", "a circle")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "letter", "digit", "circle")


@pytest.fixture
def two_tower(tmp_path: Path) -> dict[str, Any]:
    """A model section: a CLIP in a folder, whose text tower is one of Hugging Face in a folder below."""
    transformers = pytest.importorskip("transformers", reason="needs the extra peft")
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    folder, below = tmp_path / "theirs", tmp_path / "theirs" / "bert"
    transformers.BertConfig(vocab_size=len(WORDS), **text).save_pretrained(below)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(folder)
    named = {"hf_model_name": str(below), "hf_tokenizer_name": str(below), "hf_pooler_type": "mean_pooler"}
    config = {"model_cfg": CLIP_CONFIG | {"text_cfg": {"context_length": 16, "hf_proj_type": "mlp", **named}}}
    (folder / "open_clip_config.json").write_text(json.dumps({**config, "preprocess_cfg": {"size": 16}}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False, load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return {"library": "open_clip", "name": f"local-dir:{folder}", "pretrained": "bundled"}


@pytest.fixture
def export(problem: Problem, make_space: MakeSpace, tmp_path: Path) -> Callable[..., Path]:
    """Writes what a trial of a model is before its first step; gives the folder."""

    def write(model: dict[str, Any], backbone: Backbone, name: str) -> Path:
        texts = backbone.texts(SENTENCES) if backbone.reads_text else None
        begun = replace(problem, backbone=backbone, prompts=texts, ood={}, probes=())
        space = make_space("full", head="fresh")
        (tmp_path / name).mkdir()
        write_merged(Trained(Training(begun, [space]), Model(**model), {}), tmp_path / name)
        return tmp_path / name

    return write


def loaded_by_its_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The model as the export's card says, in its folder."""
    monkeypatch.chdir(folder)
    line = json.loads((folder / "export.json").read_text())["load"]
    model: nn.Module = eval(line, {"open_clip": open_clip, "timm": timm})
    return model.eval()


@torch.no_grad()
def test_an_export_with_a_text_tower_of_hugging_face_is_whole_where_it_is_moved(
    two_tower: dict[str, Any], export: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = open_backbone(**two_tower)
    written = export(two_tower, backbone, "export")
    shutil.rmtree(tmp_path / "theirs")
    moved = written.rename(tmp_path / "elsewhere")
    assert not [file for file in moved.glob("open_clip*.json") if str(tmp_path) in file.read_text()]
    again = open_backbone(two_tower["library"], f"local-dir:{moved}")
    model = loaded_by_its_line(moved, monkeypatch)
    tokens = open_clip.get_tokenizer("local-dir:.")(list(SENTENCES))
    expected = backbone.texts(SENTENCES)
    assert torch.equal(tokens, expected.tokens) and torch.equal(again.texts(SENTENCES).tokens, tokens)
    vectors = backbone.vectors(expected)
    torch.testing.assert_close(model.encode_text(tokens), vectors)
    torch.testing.assert_close(again.vectors(again.texts(SENTENCES)), vectors)
    # An export of the export is whole as well.
    second = export({**two_tower, "name": f"local-dir:{moved}"}, again, "second")
    shutil.rmtree(moved)
    torch.testing.assert_close(loaded_by_its_line(second, monkeypatch).encode_text(tokens), vectors)


@torch.no_grad()
@pytest.mark.parametrize("img_size", [None, 96])
def test_an_export_of_a_timm_folder_is_whole_where_it_is_moved(
    export: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, img_size: int | None
) -> None:
    save_for_hf(timm.create_model("test_vit", num_classes=3), tmp_path / "theirs", safe_serialization=True)
    model = {"library": "timm", "name": f"local-dir:{tmp_path / 'theirs'}", "pretrained": "bundled"}
    model |= {"img_size": img_size} if img_size else {}
    backbone = open_backbone(**model)
    written = export(model, backbone, "export")
    shutil.rmtree(tmp_path / "theirs")
    theirs = loaded_by_its_line(written.rename(tmp_path / "elsewhere"), monkeypatch)
    images = torch.rand(2, 3, *[backbone.preprocessing.size] * 2)
    torch.testing.assert_close(features(theirs, images), backbone.encode(images))


def test_added_layers_have_no_place_in_the_architecture(make_trained: MakeTrained, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match=r"^format: block_expansion has added layers.*use adapter$"):
        write_merged(make_trained("vit", "block_expansion"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_architecture_is_refused(
    problem: Problem, make_trained: MakeTrained, tmp_path: Path
) -> None:
    write_merged(make_trained("vit", "linear"), tmp_path)
    with pytest.raises(ProblemError, match="the checkpoint is not one of the space's model: it lacks"):
        load_merged(tmp_path, problem.backbone)
