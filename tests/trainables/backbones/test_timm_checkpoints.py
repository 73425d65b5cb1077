"""timm's checkpoints: what is read from a file is timm's, and what does not fit is told in one line."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from trainables.backbones import Backbone, TimmBackbone, WeightsFile, open_backbone
from trainables.errors import MissingError, ProblemError

NAME = "vit_tiny_patch16_224"


def opened(name: str, pretrained: str = "bundled", **more: Any) -> Backbone:
    return open_backbone("timm", name, pretrained, **more)


def normalised(backbone: TimmBackbone, pixels: Tensor) -> Tensor:
    return (pixels / 255 - backbone.mean) / backbone.std


def large_pixels(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, 224, 224), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Of a ViT-Tiny with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state: dict[str, Tensor] = timm.create_model(NAME).state_dict()
    return state


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped"])
def test_weights_are_read_from_a_file(weights: dict[str, Tensor], tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"weights.{kind if kind != 'wrapped' else 'pth'}"
    if kind == "safetensors":
        save_file(weights, file)
    else:
        torch.save({"state_dict": weights, "epoch": 3} if kind == "wrapped" else weights, file)
    backbone = opened(NAME, str(file))
    theirs = timm.create_model(NAME, checkpoint_path=str(file)).eval()
    assert backbone.classifier is not None
    pixels = large_pixels()
    with torch.no_grad():
        mine = backbone.classifier(backbone(pixels))
        torch.testing.assert_close(mine, theirs(normalised(backbone, pixels)), rtol=1e-5, atol=1e-5)


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": tensor for key, tensor in weights.items()}


SCRIPTS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "Lightning": lambda w: {
        "state_dict": prefixed("model.", w) | {"criterion.weight": torch.ones(3)},
        "pytorch-lightning_version": "2",
        "callbacks": {},
    },
    "Lightning, compiled": lambda w: {"state_dict": prefixed("model._orig_mod.", w)},
    "DataParallel": lambda w: prefixed("module.", w),
    "compiled DDP": lambda w: {"model": prefixed("module._orig_mod.", w), "loss": torch.zeros(1)},
    "net": lambda w: {"net": OrderedDict(w), "acc": torch.tensor(93.0), "optimizer": {"state": {}}},
    "DINO's teacher": lambda w: prefixed("backbone.", w) | {"head.mlp.0.weight": torch.ones(2, 2)},
    "arrays and paths beside": lambda w: {
        "model": w,
        "lrs": np.linspace(0, 1, 3),
        "classes": np.array(["cat", "dog"]),
        "args": {"output_dir": PosixPath("/runs"), "accuracy": np.float32(3)},
    },
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_weights_are_found_in_what_training_scripts_save(
    weights: dict[str, Tensor], tmp_path: Path, script: str
) -> None:
    torch.save(SCRIPTS[script](weights), tmp_path / "weights.ckpt")
    read = WeightsFile(str(tmp_path / "weights.ckpt"), "file").state()
    assert read.keys() == weights.keys() and all(torch.equal(read[key], weights[key]) for key in weights)


def test_paths_of_windows_are_read_anywhere(weights: dict[str, Tensor], tmp_path: Path) -> None:
    file, posix = tmp_path / "weights.pth", b"pathlib\nPosixPath"
    torch.save({"model": weights, "dir": PosixPath("C:/runs")}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    # Where they are known by another module, it is that which is replaced.
    posix = posix if posix in content else b"pathlib._local\nPosixPath"
    file.write_bytes(content.replace(posix, posix.replace(b"Posix", b"Windows")))
    assert WeightsFile(str(file), "file").state().keys() == weights.keys()


def test_the_advice_on_several_models_in_one_file_is_sound(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"net": weights, "ema": weights}, "weights.pth")
    told = refusal(NAME, "./weights.pth")
    exec(told[told.index("torch.save(") :], {"torch": torch})
    assert opened(NAME, "./net.pth").plain_state().keys() == weights.keys()


def write_archive(file: Path, layers: int = 12, classes: int = 5, grid: int = 14) -> None:
    """As Google publishes its vision transformers; width 192, 3 heads."""
    rng, layer = np.random.default_rng(0), "Transformer/encoderblock_{}/"
    attention = layer + "MultiHeadDotProductAttention_1/"
    shapes = {
        "cls": (1, 1, 192),
        "embedding/kernel": (16, 16, 3, 192),
        "embedding/bias": (192,),
        "Transformer/posembed_input/pos_embedding": (1, grid**2 + 1, 192),
        "Transformer/encoder_norm/scale": (192,),
        "Transformer/encoder_norm/bias": (192,),
    }
    if classes:
        shapes |= {"head/kernel": (192, classes), "head/bias": (classes,)}
    for number in range(layers):
        each = {layer + f"LayerNorm_{norm}/{part}": (192,) for norm in (0, 2) for part in ("scale", "bias")}
        for name in ("query", "key", "value"):
            each |= {f"{attention}{name}/kernel": (192, 3, 64), f"{attention}{name}/bias": (3, 64)}
        each |= {attention + "out/kernel": (3, 64, 192), attention + "out/bias": (192,)}
        for dense, (inner, outer) in enumerate(((192, 768), (768, 192))):
            mlp = f"{layer}MlpBlock_3/Dense_{dense}/"
            each |= {mlp + "kernel": (inner, outer), mlp + "bias": (outer,)}
        shapes |= {key.format(number): shape for key, shape in each.items()}
    np.savez(file, **{key: rng.normal(0, 0.02, shape).astype("float32") for key, shape in shapes.items()})


@pytest.mark.parametrize("classes", [5, 0])
def test_a_jax_models_file_is_read_as_timm_reads_it(tmp_path: Path, classes: int) -> None:
    tag, file = f"{NAME}.augreg_in21k", tmp_path / "Ti_16.npz"
    write_archive(file, classes=classes)
    backbone = opened(tag, file=str(file))
    overlay = {"file": str(file), "custom_load": True, "num_classes": classes}
    theirs = timm.create_model(tag, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes)
    state = theirs.state_dict()
    assert backbone.plain_state().keys() == state.keys() and ("head.weight" in state) == bool(classes)
    assert all(torch.equal(tensor, state[key]) for key, tensor in backbone.plain_state().items())


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (NAME, {"grid": 7}, "its pos_embed is [1, 50, 192], the model's [1, 197, 192]; if its pictures had"),
        (NAME, {"layers": 13}, "has more layers than 12"),
        (NAME, {"layers": 11}, "does not load as vit_tiny_patch16_224"),
        ("vit_small_patch16_224", {}, "does not load as vit_small_patch16_224"),
        ("vit_tiny_patch16_224", None, "does not load as vit_tiny_patch16_224"),
    ],
)
def test_another_jax_model_is_refused(
    tmp_path: Path, name: str, wrong: dict[str, int] | None, message: str
) -> None:
    if wrong is None:
        np.savez(tmp_path / "w.npz", odd=np.zeros(3))
    else:
        write_archive(tmp_path / "w.npz", **wrong)
    assert message in refusal(f"{name}.augreg_in21k", "bundled", file=str(tmp_path / "w.npz"))


DINO_V2 = "vit_small_patch14_reg4_dinov2.lvd142m"


def test_dino_v2s_own_file_is_read_at_another_size(tmp_path: Path) -> None:
    """As Meta publishes it: a mask token, register tokens, a place for the class token in the positions."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = timm.create_model(DINO_V2).state_dict()
    published = {key.replace("reg_token", "register_tokens"): tensor for key, tensor in ours.items()}
    published["pos_embed"] = torch.cat([torch.ones(1, 1, 384), ours["pos_embed"]], dim=1)
    published["mask_token"] = torch.zeros(1, 384)
    file = tmp_path / "dinov2.pth"
    torch.save(published, file)
    backbone = opened(DINO_V2, "bundled", file=str(file), img_size=56)
    overlay = {"state_dict": published}
    theirs = timm.create_model(DINO_V2, pretrained=True, pretrained_cfg_overlay=overlay, img_size=56).eval()
    pixels = large_pixels()[..., :56, :56]
    with torch.no_grad():
        torch.testing.assert_close(
            backbone(pixels), theirs(normalised(backbone, pixels)), rtol=1e-4, atol=1e-5
        )


def refusal(name: str, pretrained: str, **more: Any) -> str:
    with pytest.raises(ProblemError) as refused:
        opened(name, pretrained, **more)
    told = str(refused.value)
    assert "\n" not in told and not told.endswith(": ")
    return told


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("vit_tinny_patch16_224", "hub", "no architecture 'vit_tinny_patch16_224'; did you mean 'vit_tiny_"),
        ("???", "hub", "name: timm has no architecture '???'; timm.list_models() names them"),
        (f"{NAME}.dnio", "hub", f"name: {NAME} has no weights 'dnio' in timm; it has augreg_in21k"),
        (NAME, "bundled", f"pretrained: {NAME} has no bundled weights; give a file's path, or 'hub'"),
        (NAME, "/no/such.pth", "pretrained: there is no file '/no/such.pth'"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_a_reason(name: str, pretrained: str, message: str) -> None:
    assert message in refusal(name, pretrained)


def test_a_file_that_is_not_there_is_missing_and_not_wrong() -> None:
    with pytest.raises(MissingError):
        opened(NAME, "/no/such/file.pth")


def write_pickle(path: Path, value: object) -> None:
    path.write_bytes(pickle.dumps(value))


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


BROKEN: dict[str, tuple[str, Callable[[Path, dict[str, Tensor]], object]]] = {
    "another architecture": (
        "is not one of vit_tiny_patch16_224: it lacks",
        lambda path, _: torch.save(timm.create_model("resnet18").state_dict(), path),
    ),
    "another width": (
        "is not one of vit_tiny_patch16_224: its",
        lambda path, weights: torch.save({**weights, "norm.weight": torch.ones(3)}, path),
    ),
    "an odd layer": (
        "it has extra.weight, which the model has not",
        lambda path, weights: torch.save({**weights, "extra.weight": torch.ones(3)}, path),
    ),
    "truncated": (
        "cannot be read as a checkpoint",
        lambda path, weights: (torch.save(weights, path), path.write_bytes(path.read_bytes()[:100_000])),
    ),
    "empty": ("cannot be read as a checkpoint", lambda path, _: path.write_bytes(b"")),
    "a list": ("it holds list, not weights by name", lambda path, _: torch.save([1, 2, 3], path)),
    "a tensor": ("it holds Tensor, not weights by name", lambda path, _: torch.save(torch.ones(3), path)),
    "no weights": ("it holds epoch, and no weights", lambda path, _: torch.save({"epoch": 3}, path)),
    "Git LFS's pointer": (
        "it is Git LFS's pointer to it; `git lfs pull` fetches the file itself",
        lambda path, _: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    ),
    "eight bits": (
        "is quantised: its norm.weight is int8, which is no weight without its scale",
        lambda path, weights: torch.save(
            {**weights, "norm.weight": torch.ones(2, 3, dtype=torch.int8)}, path
        ),
    ),
    "eight bits that float": (
        "its head.weight is float8_e4m3fn, which is no weight without its scale",
        lambda path, weights: torch.save(
            {**weights, "head.weight": weights["head.weight"].to(torch.float8_e4m3fn)}, path
        ),
    ),
    "an unknown prefix": (
        "it lacks blocks.0.attn.proj.bias and 151 more (it has such under 'student.vit.': save those",
        lambda path, weights: torch.save({f"student.vit.{key}": t for key, t in weights.items()}, path),
    ),
    "a training file of DINO": (
        "it holds student, teacher, epoch, not the weights of one model; write those that you mean",
        lambda path, weights: torch.save({"student": weights, "teacher": weights, "epoch": 3}, path),
    ),
    "no tensors": (
        "it holds cls_token, pos_embed, patch_embed.proj.weight, patch_embed.proj.bias, ",
        lambda path, weights: torch.save(dict.fromkeys(weights, 3), path),
    ),
    "an odd value": (
        "is not one of vit_tiny_patch16_224: its cls_token is no tensor",
        lambda path, weights: torch.save({**weights, "cls_token": 3}, path),
    ),
    "a program": (
        "is a TorchScript archive, as OpenAI publishes CLIP: a program, which is not run",
        lambda path, _: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
    ),
    "a plain pickle": ("cannot be read as a checkpoint", lambda path, _: write_pickle(path, {"a": 1})),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(
    weights: dict[str, Tensor], tmp_path: Path, kind: str
) -> None:
    message, write = BROKEN[kind]
    write(tmp_path / "weights.pth", weights)
    told = refusal(NAME, str(tmp_path / "weights.pth"))
    assert told.startswith("pretrained: ") and message in told


def test_a_truncated_safetensors_file_is_told_in_one_line(weights: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(weights, file)
    file.write_bytes(file.read_bytes()[:100_000])
    assert "cannot be read as a checkpoint" in refusal(NAME, str(file))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Payload(str(tmp_path / "was run"))}, tmp_path / "weights.pth")
    assert "cannot be read as a checkpoint" in refusal(NAME, str(tmp_path / "weights.pth"))
    assert not (tmp_path / "was run").exists()


def test_a_tag_of_the_hub_cannot_be_had_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match=r"^pretrained: the weights of \S+ are not on this machine[^\n]*$"):
        opened("vit_tiny_patch16_224", "hub")


def test_a_file_with_another_librarys_names_has_the_tags_classifier(tmp_path: Path) -> None:
    """open_clip's names, which timm translates: its projection is the classifier."""
    name = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
    clip = open_clip.get_model_config("ViT-B-32") | {"embed_dim": 512}
    vision = {"image_size": 224, "patch_size": 16, "width": 256, "layers": 10, "head_width": 64}
    text = clip["text_cfg"] | {"layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = open_clip.CLIP(embed_dim=512, vision_cfg=vision, text_cfg=text).state_dict()
    torch.save(state, tmp_path / "clip.pt")
    backbone = opened(name, file=str(tmp_path / "clip.pt"))
    theirs = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "clip.pt")}
    ).eval()
    pixels = large_pixels()
    assert backbone.classifier is not None
    with torch.no_grad():
        mine = backbone.classifier(backbone(pixels))
        torch.testing.assert_close(mine, theirs(normalised(backbone, pixels)), rtol=1e-4, atol=1e-5)


def test_weights_that_are_no_numbers_are_said_to_be(weights: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({**weights, "norm.weight": weights["norm.weight"] * torch.nan}, tmp_path / "w.safetensors")
    assert "no finite numbers" in refusal(NAME, str(tmp_path / "w.safetensors"))
