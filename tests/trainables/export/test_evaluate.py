"""A model that was taken away measures as it did in its trial."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Generator, nn

from search_spaces import Model, Space
from trainables import Problem, ProblemError, measure_reference
from trainables.backbones import TimmBackbone, class_sentences, open_backbone
from trainables.data import ImageSet, Task
from trainables.engine.evaluate import evaluate
from trainables.export import FORMATS, Given, Trained, load_given
from trainables.probes import KnnProbe, ZeroShotProbe

MakeTrained = Callable[..., Trained]
MakeSpace = Callable[..., Space]

TRAINING: dict[str, Any] = {"lr": 2e-2, "epochs": 3}
FLYP = ({"towers": ("image", "text")}, {"objective": "flyp"})
CASES: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    *((library, form, "selective_lora", {}, {}) for library in ("clip", "vit") for form in FORMATS),
    *(("clip", form, "selective_lora", *FLYP) for form in FORMATS),
    *(
        (library, form, name, {}, {})
        for library in ("clip", "vit")
        for form in ("merged", "adapter")
        for name in ("full", "taps", "top_k")
    ),
    ("clip", "merged", "zero_shot", {}, {}),
    ("clip", "adapter", "block_expansion", {}, {}),
    ("vit", "adapter", "block_expansion", {}, {}),
    ("vit", "merged", "linear", {}, {}),
]
IDS = ["-".join([*case[:3], *case[4].values()]) for case in CASES]


@pytest.mark.parametrize("library, form, name, method, training", CASES, ids=IDS)
def test_it_has_the_metrics_of_its_trial(
    make_trained: MakeTrained,
    make_space: MakeSpace,
    tmp_path: Path,
    library: str,
    form: str,
    name: str,
    method: dict[str, Any],
    training: dict[str, Any],
) -> None:
    trained = make_trained(library, name, method, **TRAINING, **training)
    problem = trained.training.problem
    FORMATS[form](trained, tmp_path)
    given = load_given(tmp_path, problem.backbone, trained.model)
    found = evaluate(problem, given, make_space())

    about_training = ("active_blocks", "active_fraction", "trained_parameters", "epoch")
    for metric, value in trained.metrics.items():
        if metric not in about_training:
            assert found[metric] == pytest.approx(value, abs=1e-4), metric
    assert {"id_accuracy", "test/id_accuracy", "test/ood/noisy", "test/forgetting"} <= found.keys()
    if name not in ("zero_shot", "linear"):
        before = measure_reference(problem, make_space()) | {"forgetting": 0.0, "test/forgetting": 0.0}
        assert any(found[metric] != value for metric, value in before.items() if metric in found)


@pytest.fixture
def letters() -> Problem:
    """Random pictures and two words, on the CLIP that ships."""
    backbone = open_backbone("open_clip", "tiny-clip")
    generator = Generator().manual_seed(0)

    def images(count: int) -> ImageSet:
        pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return ImageSet(pixels, torch.arange(count) % 2)

    task = Task(("letter a", "letter b"), ("a red {}",), images(8), images(8), images(8))
    texts = backbone.texts(class_sentences(task.classes, task.templates))
    return Problem(backbone, task, texts, {}, (ZeroShotProbe("letters", task, texts),))


CLIP_MODEL = Model(library="open_clip", name="tiny-clip")


def test_anothers_clip_names_the_classes_by_its_own_text_tower(
    letters: Problem, make_space: MakeSpace, tmp_path: Path
) -> None:
    state = letters.backbone.plain_state()
    # Images of this one are told apart as before, but its text tower calls both classes the same.
    state = {name: t.zero_() if name == "text_projection" else t for name, t in clones(state).items()}
    torch.save({"state_dict": state}, tmp_path / "theirs.pt")
    space = make_space()
    letters = replace(letters, reference=measure_reference(letters, space))
    given = load_given(tmp_path / "theirs.pt", letters.backbone, CLIP_MODEL)
    assert given.head is None
    found = evaluate(letters, given, space)
    # With every cosine at zero the first class is always named: half of the pictures.
    assert found["id_accuracy"] == found["test/id_accuracy"] == found["probe/letters"] == 50.0
    assert found["forgetting"] == letters.reference["probe/letters"] - 50.0

    save_file(clones(letters.backbone.plain_state()), tmp_path / "same.safetensors")
    same = load_given(tmp_path / "same.safetensors", letters.backbone, CLIP_MODEL)
    found = evaluate(letters, same, space)
    assert found["test/id_accuracy"] == letters.reference["test/id_accuracy"] and found["forgetting"] == 0


def clones(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def test_anothers_timm_model_has_no_accuracy_on_the_task(make_space: MakeSpace, tmp_path: Path) -> None:
    name = "test_vit.r160_in1k"
    model = Model(library="timm", name=name, pretrained="hub")
    backbone = TimmBackbone(timm.create_model(name))
    generator = Generator().manual_seed(0)
    images = ImageSet(
        torch.randint(256, (6, 3, 160, 160), dtype=torch.uint8, generator=generator), torch.arange(6) % 2
    )
    task = Task(("a", "b"), ("a {}",), images, images, images)
    problem = Problem(backbone, task, None, {"same": images}, (KnnProbe("near", task, k=1),))
    problem = replace(problem, reference=measure_reference(problem, make_space()))
    torch.save(timm.create_model(name).state_dict(), tmp_path / "theirs.pth")
    found = evaluate(problem, load_given(tmp_path / "theirs.pth", backbone, model), make_space())
    assert not [metric for metric in found if "id_accuracy" in metric or "ood" in metric]
    # Each picture is its own nearest neighbour.
    assert found["test/probe/near"] == 100.0 and found["test/forgetting"] == 0.0


class Payload:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("was run",)


def write_nothing(path: Path) -> None:
    """There is no such file."""


def write_bytes(path: Path) -> None:
    path.write_bytes(b"no weights at all")


def write_pickle(path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(Payload(), file)


def write_payload(path: Path) -> None:
    torch.save({"state_dict": Payload()}, path)


def write_another_architecture(path: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), path)


def write_a_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


def write_empty_folder(path: Path) -> None:
    path.mkdir()


def write_broken_export(path: Path) -> None:
    path.mkdir()
    (path / "adapter.json").write_text("{")


@pytest.mark.parametrize("ending", [".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize(
    "write",
    [
        write_nothing,
        write_bytes,
        write_pickle,
        write_payload,
        write_another_architecture,
        write_a_list,
        write_empty_folder,
        write_broken_export,
    ],
)
@pytest.mark.parametrize("library", ["open_clip", "timm"])
def test_what_are_no_such_weights_is_refused_in_one_line(
    letters: Problem,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    library: str,
    write: Callable[[Path], None],
    ending: str,
) -> None:
    path = tmp_path / f"given{ending}"
    write(path)
    model = CLIP_MODEL if library == "open_clip" else Model(library="timm", name="test_vit")
    with pytest.raises(ProblemError) as refusal:
        load_given(path, letters.backbone, model)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert "was run" not in capsys.readouterr().out


def test_classes_without_names_need_a_head(letters: Problem, make_space: MakeSpace) -> None:
    with pytest.raises(
        ProblemError, match=r"^data.id.classes: they are numbers or ids, of which no prompt can be"
    ):
        evaluate(replace(letters, prompts=None), Given(letters.backbone, None, None), make_space())


def test_a_head_for_other_classes_is_refused(letters: Problem, make_space: MakeSpace) -> None:
    given = Given(letters.backbone, None, ("letter a", "letter c"))
    with pytest.raises(ProblemError, match=r"^data.id: .* letter b, letter c differ"):
        evaluate(letters, given, make_space())
    turned = Given(letters.backbone, None, letters.task.classes[::-1])
    with pytest.raises(ProblemError, match="their order differ"):
        evaluate(letters, turned, make_space())


@pytest.mark.parametrize(("library", "tag"), [("open_clip", "openai"), ("timm", "hub"), ("timm", "bundled")])
def test_a_file_that_is_called_like_weights_elsewhere_is_the_file(
    letters: Problem, library: str, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(tag).write_bytes(b"no weights")
    name = "ViT-B-32-256" if library == "open_clip" else "test_vit"
    with pytest.raises(ProblemError, match="cannot be read as a checkpoint"):
        load_given(Path(tag), letters.backbone, Model(library=library, name=name))
