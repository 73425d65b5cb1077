"""Every kind of CLIP that open_clip builds around a vision transformer, and every file it is read from."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from search_spaces import Space
from trainables.backbones import Backbone, ClipBackbone, open_backbone
from trainables.errors import MissingError, ProblemError
from trainables.methods import METHODS, Method
from trainables.methods.block_method import BlockMethod

MakeSpace = Callable[..., Space]

OWN = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
TRUNK = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "test-clip": {"embed_dim": 24, "vision_cfg": OWN, "text_cfg": TEXT},
    "test-custom-clip": {"embed_dim": 24, "vision_cfg": OWN, "text_cfg": TEXT, "custom_text": True},
    "test-trunk-clip": {"embed_dim": 24, "vision_cfg": TRUNK, "text_cfg": TEXT},
    "test-custom-trunk-clip": {"embed_dim": 24, "vision_cfg": TRUNK, "text_cfg": TEXT, "custom_text": True},
}
PREPROCESS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Makes the architectures known to open_clip."""
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest, known: None) -> tuple[str, nn.Module]:
    """An architecture's name, and one as open_clip builds it, with random weights; not to be changed."""
    return request.param, random_model(request.param)


def opened(name: str, pretrained: str = "bundled", weights: bool = True, **more: Any) -> Backbone:
    return open_backbone("open_clip", name, pretrained, weights=weights, **more)


def random_model(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = open_clip.create_model(name, pretrained=None)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def wrapped(name: str, model: nn.Module) -> ClipBackbone:
    return ClipBackbone(
        copy.deepcopy(model), open_clip.get_tokenizer(name), PREPROCESS["mean"], PREPROCESS["std"]
    )


def pixels_for(backbone: ClipBackbone) -> Tensor:
    size = backbone.preprocessing.size
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (3, 3, size, size), dtype=torch.uint8, generator=generator)


def normalised(backbone: ClipBackbone, pixels: Tensor) -> Tensor:
    return (pixels / 255 - backbone.mean) / backbone.std


def adapted(backbone: ClipBackbone, make_space: MakeSpace, name: str = "lora") -> Method:
    settings = make_space(name, {"towers": ("image", "text")}).method
    method = METHODS[name](backbone, [settings], [torch.Generator().manual_seed(0)])
    with torch.no_grad():
        for parameter in method.updates().values():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return method


def test_both_towers_are_open_clips(model: tuple[str, nn.Module]) -> None:
    name, theirs = model
    backbone = wrapped(name, theirs)
    pixels = pixels_for(backbone)
    texts = backbone.texts(["a letter", "a red circle on a blue background"])
    images = theirs.encode_image(normalised(backbone, pixels))
    torch.testing.assert_close(backbone(pixels), images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        backbone.vectors(texts), theirs.encode_text(texts.tokens), rtol=1e-4, atol=1e-5
    )
    assert backbone.feature_size == images.shape[1] == 24
    assert backbone.logit_scale == pytest.approx(theirs.logit_scale.exp().item())


def test_every_block_of_both_towers_is_adapted(model: tuple[str, nn.Module], make_space: MakeSpace) -> None:
    backbone = wrapped(*model)
    method = adapted(backbone, make_space)
    assert isinstance(method, BlockMethod)
    depth = {tower: backbone.depth(tower) for tower in ("image", "text")}
    assert method.blocks == tuple(
        f"{tower}.{layer}.{kind}"
        for tower, layers in depth.items()
        for layer in range(layers)
        for kind in ("qkv", "proj", "fc1", "fc2")
    )
    texts = backbone.texts(["a letter", "a red circle on a blue background"])
    (method(pixels_for(backbone)) @ method.backbone.encode_text(texts.tokens).T).square().sum().backward()
    for block in method.placed:
        assert block.down.grad.any() and block.up.grad.any()


def test_its_weights_load_strictly_into_open_clips_model(
    model: tuple[str, nn.Module], make_space: MakeSpace
) -> None:
    """As they are, and with a member's updates merged into them."""
    name, theirs = model
    backbone = wrapped(name, theirs)
    state = backbone.plain_state()
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in theirs.state_dict().items())

    method = adapted(backbone, make_space)
    fresh = open_clip.create_model(name, pretrained=None).eval()
    fresh.load_state_dict(method.merged(0).plain_state())
    pixels, tokens = pixels_for(backbone), backbone.texts(["a letter"]).tokens
    torch.testing.assert_close(
        fresh.encode_image(normalised(backbone, pixels)), method(pixels), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        fresh.encode_text(tokens), method.backbone.encode_text(tokens), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", ["top_k", "block_expansion", "taps", "full"])
def test_every_method_takes_every_kind(
    model: tuple[str, nn.Module], make_space: MakeSpace, name: str
) -> None:
    backbone = wrapped(*model)
    settings = make_space(name, {"layers": 1} if name in ("top_k", "block_expansion") else {}).method
    method = METHODS[name](backbone, [settings], [torch.Generator()])
    pixels = pixels_for(backbone)
    assert torch.equal(method(pixels), backbone(pixels))
    method(pixels).square().sum().backward()
    trained = [p for p in method.backbone.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)


def write_folder(folder: Path, name: str, model: nn.Module, config: dict[str, Any] | None = None) -> None:
    """As open_clip's push_to_hf_hub saves it."""
    folder.mkdir()
    known = {"model_cfg": config or CONFIGS[name], "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(known))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


@pytest.mark.parametrize("kind", ["pt", "wrapped.pt", "lightning.ckpt", "safetensors", "folder"])
def test_weights_are_read_from_every_kind_of_file(
    model: tuple[str, nn.Module], tmp_path: Path, kind: str
) -> None:
    name, theirs = model
    file = tmp_path / f"weights.{kind}"
    pretrained = str(file)
    match kind:
        case "pt":
            torch.save(theirs.state_dict(), file)
        case "wrapped.pt":
            state = {f"module.{key}": tensor for key, tensor in theirs.state_dict().items()}
            torch.save({"state_dict": state, "epoch": 3}, file)
        case "lightning.ckpt":
            torch.save(
                {"model": {f"model.{key}": tensor for key, tensor in theirs.state_dict().items()}}, file
            )
        case "safetensors":
            save_file(theirs.state_dict(), file)
        case "folder":
            write_folder(file, name, theirs)
    backbone = opened(f"local-dir:{file}") if kind == "folder" else opened(name, pretrained)
    state = theirs.state_dict()
    assert backbone.plain_state().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in backbone.plain_state().items())
    if kind == "folder":
        assert backbone.mean.flatten().tolist() == pytest.approx(PREPROCESS["mean"])
        assert backbone.std.flatten().tolist() == pytest.approx(PREPROCESS["std"])
        assert backbone.preprocessing.interpolation == "bilinear"
    else:
        assert backbone.mean.flatten().tolist() == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    assert backbone.texts(["a letter"]).tokens.shape == (1, 16)


def refusal(name: str, pretrained: str = "bundled", **more: object) -> str:
    with pytest.raises(ProblemError) as refused:
        opened(name, pretrained, **more)
    text = str(refused.value)
    assert "\n" not in text and not text.endswith((": ", ":"))
    return text


def broken_folder(folder: Path, **changes: Any) -> str:
    """A folder of test-clip in which something is wrong."""
    write_folder(folder, "test-clip", random_model("test-clip"), changes.get("config"))
    if "weights" in changes:
        save_file(changes["weights"], folder / "open_clip_model.safetensors")
    if "text" in changes:
        (folder / "open_clip_config.json").write_text(changes["text"])
    return f"local-dir:{folder}"


def test_a_folder_is_a_name_and_no_tag(tmp_path: Path) -> None:
    place = broken_folder(tmp_path / "a")
    assert refusal("test-clip", place) == (
        f"pretrained: a model with its own configuration is a name; write name: {place}"
    )
    assert refusal(place, "openai").startswith(f"pretrained: the weights come with {place}; leave it out")


def test_a_folder_whose_weights_do_not_fit_says_which(tmp_path: Path) -> None:
    place = broken_folder(tmp_path / "a", weights={"odd": torch.ones(2)})
    assert refusal(place).startswith(f"pretrained: the checkpoint is not one of {place}: it lacks ")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_cfg": {}}'])
def test_a_folder_whose_configuration_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    place = broken_folder(tmp_path / "a", text=text)
    assert refusal(place).startswith(f"name: {place} has a configuration that cannot be read: ")


def test_a_folder_without_weights_is_missing_them(tmp_path: Path) -> None:
    place = broken_folder(tmp_path / "a")
    (tmp_path / "a" / "open_clip_model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"^name: there are no weights in [^\n]*$"):
        opened(place)
    assert opened(place, weights=False).feature_size == 24


def test_a_folder_takes_the_weights_of_a_file(tmp_path: Path) -> None:
    place, other = broken_folder(tmp_path / "a"), random_model("test-clip")
    with torch.no_grad():
        other.visual.proj.fill_(0.5)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    backbone = opened(place, file=str(tmp_path / "other.safetensors"))
    assert torch.equal(backbone.plain_state()["visual.proj"], other.visual.proj)
    assert backbone.mean.flatten().tolist() == pytest.approx(PREPROCESS["mean"])


def test_a_folder_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingError, match=r"^name: there is no open_clip_config.json in /no/where$"):
        opened("local-dir:/no/where")


def test_a_file_that_is_not_there_needs_no_weights_for_a_look_at_the_data() -> None:
    with pytest.raises(MissingError, match=r"^pretrained: there is no "):
        opened("test-clip", "weights.pt")
    assert opened("test-clip", "weights.pt", weights=False).feature_size == 24


def test_positions_are_resampled_to_another_size(model: tuple[str, nn.Module], tmp_path: Path) -> None:
    name, theirs = model
    file = tmp_path / "weights.pt"
    torch.save(theirs.state_dict(), file)
    size = 2 * theirs.visual.preprocess_cfg["size"][0] if "trunk" in name else 32
    backbone = opened(name, str(file), img_size=size)
    expected = open_clip.create_model(name, pretrained=str(file), force_image_size=size).eval()
    assert backbone.preprocessing.size == size
    pixels = pixels_for(backbone)
    images = expected.encode_image(normalised(backbone, pixels))
    torch.testing.assert_close(backbone(pixels), images, rtol=1e-4, atol=1e-5)


def test_weights_for_another_size_are_not_resampled_without_a_word(tmp_path: Path) -> None:
    larger = open_clip.create_model("test-clip", pretrained=None, force_image_size=32)
    torch.save(larger.state_dict(), tmp_path / "weights.pt")
    text = refusal("test-clip", str(tmp_path / "weights.pt"))
    assert "visual.positional_embedding is [17, 32], the model's [5, 32]" in text and "model.img_size" in text


WRONG: dict[str, tuple[str, Callable[[Path, dict[str, Tensor]], object]]] = {
    "another architecture": (
        "the checkpoint is not one of test-clip: it lacks ",
        lambda path, _: torch.save(random_model("test-custom-clip").visual.state_dict(), path),
    ),
    "eight bits": (
        "is quantised: its visual.proj.weight is int8",
        lambda path, state: torch.save(
            {**state, "visual.proj.weight": torch.ones(2, 3, dtype=torch.int8)}, path
        ),
    ),
    "another width": (
        "the checkpoint is not one of test-clip: its ln_final.bias is [3], the model's [16]",
        lambda path, state: torch.save({**state, "ln_final.bias": torch.ones(3)}, path),
    ),
    "an odd layer": (
        "the checkpoint is not one of test-clip: it has odd, which the model has not",
        lambda path, state: torch.save({**state, "odd": torch.ones(3)}, path),
    ),
    "truncated": (
        "cannot be read as a checkpoint",
        lambda path, state: (torch.save(state, path), path.write_bytes(path.read_bytes()[:10_000])),
    ),
    "empty": ("cannot be read as a checkpoint", lambda path, _: path.write_bytes(b"")),
    "a list": ("it holds list, not weights by name", lambda path, _: torch.save([1, 2], path)),
    "nothing": ("it holds nothing, and no weights", lambda path, _: torch.save({}, path)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    message, write = WRONG[kind]
    write(tmp_path / "weights.pt", random_model("test-clip").state_dict())
    assert message in refusal("test-clip", str(tmp_path / "weights.pt"))
