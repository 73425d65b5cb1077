"""A problem from a space's sections, and everything that keeps it from being opened."""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Generator

from search_spaces import Data, Model, Space
from trainables import Problem, ProblemError, open_problem
from trainables.backbones import TimmBackbone
from trainables.errors import MissingError
from trainables.methods import check_settings

CLIP = {"library": "open_clip", "name": "tiny-clip", "pretrained": "bundled"}
DINO = {"library": "timm", "name": "tiny-dino", "pretrained": "bundled"}


def draw(folder: Path, classes: Sequence[str], count: int = 10) -> str:
    """A folder of class folders with pictures of noise; gives its path."""
    generator = Generator().manual_seed(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for place in range(count):
            noise = torch.randint(256, (40, 32, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(noise.numpy()).save(folder / name / f"{place}.png")
    return str(folder)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """A data section whose parts are all here."""
    return {
        "id": {"source": "folder", "path": draw(tmp_path / "task", ("cat", "dog"))},
        "ood": [{"source": "folder", "path": draw(tmp_path / "drawn", ("cat", "dog"), 3), "name": "drawn"}],
        "probes": [
            {"source": "folder", "path": draw(tmp_path / "old", ("a", "b", "c")), "score": "knn", "k": 3}
        ],
    }


def space_of(data: Mapping[str, Any], model: Mapping[str, Any] = CLIP) -> Space:
    """No more of a space than its model and data, which may not go together."""
    return Space.model_construct(model=Model.model_validate(model), data=Data.model_validate(data))


def refusal(data: Mapping[str, Any], model: Mapping[str, Any] = CLIP) -> ProblemError:
    with pytest.raises(ProblemError) as refused:
        open_problem(space_of(data, model))
    return refused.value


@pytest.mark.parametrize("model", [CLIP, DINO], ids=["clip", "timm"])
def test_what_is_all_there_opens(good: dict[str, Any], model: dict[str, Any]) -> None:
    problem = open_problem(space_of(good, model))
    assert problem.task.classes == ("cat", "dog")
    assert [len(s) for s in (problem.task.train, problem.task.val, problem.task.test)] == [12, 4, 4]
    assert {name: len(images) for name, images in problem.ood.items()} == {"drawn": 6}
    assert [probe.name for probe in problem.probes] == ["old"]
    size = problem.backbone.preprocessing.size
    assert problem.task.train.pixels[torch.tensor([0])].shape == (1, 3, size, size)
    assert (problem.prompts is None) == (model is DINO)
    if problem.prompts is not None:
        assert problem.class_vectors.shape == (2, problem.backbone.feature_size)
        expected = problem.backbone.texts(["a photo of a cat.", "a photo of a dog."])
        vectors = problem.backbone.vectors
        torch.testing.assert_close(vectors(problem.prompts), vectors(expected))


def test_everything_that_is_not_here_is_told_together(
    good: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_EXPAND", "NO_SUCH_VARIABLE")
    gone = {"source": "folder", "path": str(tmp_path / "gone")}
    data = {
        "id": gone,
        "ood": [good["ood"][0], {**gone, "path": str(tmp_path / "lost"), "name": "b"}],
        "probes": [*good["probes"], {**gone, "path": "${NO_SUCH_VARIABLE}/x", "score": "knn"}],
    }
    error = refusal(data, {**CLIP, "pretrained": "/no/such.pt"})
    assert isinstance(error, MissingError)
    assert str(error).split("\n") == [
        "model.pretrained: there is no file '/no/such.pt'",
        f"data.id.path: no such folder: {tmp_path / 'gone'}",
        f"data.ood.1.path: no such folder: {tmp_path / 'lost'}",
        "data.probes.1.path: the environment has no NO_SUCH_VARIABLE; set it, or give the whole "
        "path with --set",
    ]


def test_what_is_wrong_is_not_called_missing(good: dict[str, Any], tmp_path: Path) -> None:
    """Of several mistakes one is no matter of what is on this machine."""
    data = {**good, "id": {**good["id"], "path": str(tmp_path / "gone")}}
    (tmp_path / "odd.pt").write_bytes(b"no checkpoint")
    error = refusal(data, {**CLIP, "pretrained": str(tmp_path / "odd.pt")})
    assert not isinstance(error, MissingError)
    places = [line.partition(": ")[0] for line in str(error).split("\n")]
    assert places == ["model.pretrained", "data.id.path"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({**DINO, "name": "tiny-dinno"}, "model.name: timm has no architecture 'tiny-dinno'"),
        (
            {**DINO, "name": "vit_tiny_patch16_224"},
            "model.pretrained: vit_tiny_patch16_224 has no bundled weights; give a file's path, or 'hub'",
        ),
        ({**CLIP, "name": "tiny-clp"}, "model.name: open_clip has no architecture 'tiny-clp'; did you mean"),
        (
            {**CLIP, "pretrained": "${NO_SUCH_VARIABLE}/x.pt"},
            "model.pretrained: ${NO_SUCH_VARIABLE} is not expanded, only SWEEPER_DATA; give the whole path",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_cannot_be_had_is_told_once(
    good: dict[str, Any], model: dict[str, Any], message: str
) -> None:
    (line,) = str(refusal(good, model)).split("\n")
    assert line.startswith(message)


def test_a_shifted_set_has_the_classes_of_the_task(good: dict[str, Any], tmp_path: Path) -> None:
    others = [
        {"source": "folder", "path": draw(tmp_path / "more", ("cat", "cow", "dog"), 1)},
        {"source": "folder", "path": draw(tmp_path / "other", ("cow", "dog"), 1)},
        {"source": "folder", "path": good["id"]["path"], "classes": ["dog", "cat"], "name": "order"},
    ]
    error = refusal({**good, "ood": [*good["ood"], *others]})
    assert not isinstance(error, MissingError)
    said = "the classes are not those of data.id, which has 2"
    assert str(error).split("\n") == [
        f"data.ood.1.source: {said}: cow differ",
        f"data.ood.2.source: {said}: cat, cow differ",
        "data.ood.3.classes: 'dog' stands where the data have cat; give them in the order of the data's "
        "classes: cat, dog",
    ]


def test_a_shifted_set_has_the_order_of_the_task(good: dict[str, Any]) -> None:
    one = {**good["id"], "classes": ["a kitten", "a puppy"]}
    two = {**good["id"], "classes": ["a puppy", "a kitten"], "name": "order"}
    assert str(refusal({**good, "id": one, "ood": [two]})).split("\n") == [
        "data.ood.0.source: the classes are not those of data.id, which has 2: their order differs",
    ]


def test_classes_of_a_set_that_numbers_them_otherwise_are_found_by_name(
    good: dict[str, Any], tmp_path: Path
) -> None:
    """Shards number their classes as they like."""
    shard, picture = tmp_path / "shards" / "0.tar", next((tmp_path / "drawn" / "dog").iterdir())
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        tar.add(picture, "a.png")
        (tmp_path / "0").write_text("0")
        tar.add(tmp_path / "0", "a.cls")
    (shard.parent / "classnames.txt").write_text("dog\ncat\n")
    shards = {"source": "webdataset", "path": str(shard.parent), "name": "shards"}
    problem = open_problem(space_of({**good, "ood": [shards]}))
    assert problem.ood["shards"].labels.tolist() == [problem.task.classes.index("dog")]


def test_a_shifted_set_may_have_some_of_the_classes_if_it_says_so(tmp_path: Path) -> None:
    """Its pictures are of those classes of the task, which are the only possible answers."""
    task = {"source": "folder", "path": draw(tmp_path / "task", ("ant", "bee", "cat", "dog"))}
    some = {"source": "folder", "path": draw(tmp_path / "some", ("bee", "dog"), 2), "name": "some"}
    data = {"id": task, "ood": [some], "probes": [{**task, "score": "knn", "k": 3}]}
    assert str(refusal(data)) == (
        "data.ood.0.source: the classes are not those of data.id, which has 4: ant, cat are missing; with "
        "class_subset: true answers are among the others only"
    )
    images = open_problem(space_of({**data, "ood": [some | {"class_subset": True}]})).ood["some"]
    assert images.labels.tolist() == [1, 1, 3, 3]
    assert images.answers is not None and images.answers.tolist() == [1, 3]
    odd = {"source": "folder", "path": draw(tmp_path / "odd", ("bee", "cow"), 1), "class_subset": True}
    assert str(refusal({**data, "ood": [odd]})).endswith("which has 4: cow differ")
    whole = {**task, "name": "whole", "class_subset": True}
    said = "data.ood.0.class_subset: the set names all 4 classes; remove it"
    assert str(refusal({**data, "ood": [whole]})) == said


def test_imagenets_classes_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """open_clip's list calls n03773504 and n04008634 missile; n02088364 is no neighbour of theirs."""
    both = {"classes": "imagenet", "source": "folder"}
    ids = ("n02088364", "n03773504", "n04008634")
    task = {**both, "path": draw(tmp_path / "task", ids)}
    some = {**both, "path": draw(tmp_path / "some", ids[::2], 1), "name": "some", "class_subset": True}
    problem = open_problem(
        space_of({"id": task, "ood": [some], "probes": [{**task, "score": "knn", "k": 3}]})
    )
    assert problem.task.classes == ("Beagle", "missile", "missile")
    assert problem.ood["some"].labels.tolist() == [0, 2]


def test_a_probe_that_the_model_cannot_be_asked_is_named(good: dict[str, Any]) -> None:
    (probe,) = good["probes"]
    wrong = [{**probe, "score": "head", "k": 20, "name": "a"}, {**probe, "k": 500, "name": "b"}]
    lines = str(refusal({**good, "probes": [probe, *wrong]})).split("\n")
    assert len(lines) == 2
    assert lines[0].startswith("data.probes.1.score: 'head' needs a model with a classifier of its own")
    assert lines[1].startswith("data.probes.2.k: 500 nearest pictures are to vote")


def test_a_problem_is_moved_whole_and_leaves_the_first_alone(good: dict[str, Any]) -> None:
    problem = open_problem(space_of(good))
    moved = problem.to("cpu")
    assert isinstance(moved, Problem) and moved.backbone is not problem.backbone
    assert {p.data_ptr() for p in moved.backbone.parameters()}.isdisjoint(
        p.data_ptr() for p in problem.backbone.parameters()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"towers": ("image", "text")}, "towers: the model has no text tower that can be adapted"),
        ({"layers": 3}, "layers: 3 are asked for, the model has 2"),
        ({"active_blocks": 9}, "active_blocks: 9 are asked for, the model has 8"),
        ({"blocks": ("q",), "active_blocks": 3}, "active_blocks: 3 are asked for, the model has 2"),
    ],
)
def test_settings_that_the_model_cannot_meet_are_refused(
    timm_backbone: TimmBackbone, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        check_settings(timm_backbone, SimpleNamespace(**settings))
    assert str(refused.value) == message


@pytest.mark.parametrize("settings", [{}, {"layers": 2}, {"active_blocks": 8}, {"blocks": ("q", "v")}])
def test_settings_that_the_model_meets_pass(timm_backbone: TimmBackbone, settings: dict[str, Any]) -> None:
    check_settings(timm_backbone, SimpleNamespace(**settings))
