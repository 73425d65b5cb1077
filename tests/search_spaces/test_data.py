"""Data sets: what belongs to which source, and what a set is called."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from search_spaces import Probe, Source, SpaceError, json_schema, load_space

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"

SETS = [
    "{source: digits, limit: 100, seed: 3, classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']}",
    "{source: folder, path: '${DATA}/pacs/{split}/sketch', templates: ['a sketch of a {}.', 'a {}']}",
    "{source: folder, path: data/imagenet, classes: imagenet, templates: imagenet, split: [0, 0.4, 0.6]}",
    "{source: folder, path: data/flowers, classes: names.txt, templates: simple, shift: jpeg, severity: 5}",
    "{source: torchvision, dataset: CIFAR100, path: data, download: true, shift: inverted}",
    "{source: torchvision, dataset: Caltech101, path: data, metric: mean_per_class}",
    "{source: huggingface, dataset: org/set, config: large, image_column: i, label_column: l}",
    "{source: huggingface, path: data/saved, split: [0.8, 0.1, 0.1]}",
    "{source: webdataset, path: 'shards/{split}-{000000..000012}.tar', classes: names.txt}",
]
PROBES = [
    "{source: pairs, path: pairs.csv, score: retrieval, split: [0, 0.2, 0.8], limit: 5}",
    "{source: torchvision, dataset: CIFAR100, path: data, score: knn, k: 10, temperature: 0.1}",
    "{source: folder, path: data/imagenet, score: linear}",
    "{source: huggingface, dataset: org/set, download: true, metric: mean_per_class}",
]


@pytest.mark.parametrize("path", ["data.id", "data.ood.0", "data.probes.0"])
@pytest.mark.parametrize("written", SETS)
def test_a_set_can_be_written_and_read_again(path: str, written: str, tmp_path: Path) -> None:
    space = load_space(SHIPPED, [f"{path}={written}"])
    file = tmp_path / "again.yaml"
    file.write_text(space.to_yaml())
    assert load_space(file) == space
    jsonschema.validate(space.dump(), json_schema())


@pytest.mark.parametrize("written", PROBES)
def test_a_probe_can_be_written_and_read_again(written: str, tmp_path: Path) -> None:
    space = load_space(SHIPPED, [f"data.probes.0={written}"])
    file = tmp_path / "again.yaml"
    file.write_text(space.to_yaml())
    assert load_space(file) == space
    jsonschema.validate(space.dump(), json_schema())


LABELS = [
    ({"source": "digits"}, "digits"),
    ({"source": "digits", "shift": "noisy"}, "digits-noisy"),
    ({"source": "digits", "shift": "noisy", "name": "mine"}, "mine"),
    ({"source": "folder", "path": "${DATA}/pacs/{split}/sketch"}, "sketch"),
    ({"source": "folder", "path": "data/sketch/{split}/", "shift": "jpeg"}, "sketch-jpeg"),
    ({"source": "folder", "path": "${DATA}"}, "folder"),
    ({"source": "folder", "path": "~/my flowers (v1.2)"}, "my-flowers-v1-2"),
    ({"source": "folder", "path": "data/_hidden_"}, "hidden"),
    ({"source": "folder", "path": "data/" + "x" * 80, "shift": "jpeg"}, "x" * 59 + "-jpeg"),
    ({"source": "torchvision", "dataset": "CIFAR100", "path": "data"}, "CIFAR100"),
    ({"source": "huggingface", "dataset": "uoft-cs/cifar100"}, "cifar100"),
    ({"source": "huggingface", "path": "data/saved"}, "saved"),
    ({"source": "webdataset", "path": "pets/shards/{split}-{000..012}.tar"}, "shards"),
    ({"source": "webdataset", "path": "pets-{split}-{000..012}.tar"}, "pets"),
]


@pytest.mark.parametrize(("values", "label"), LABELS, ids=[label for _, label in LABELS])
def test_a_set_is_called_by_its_name_or_by_what_it_holds(values: dict[str, Any], label: str) -> None:
    source = Source(**values)
    assert (source.label, source.name, source.dump()["name"]) == (label, label, label)
    assert Source(**source.dump()) == source


def test_a_csv_file_is_called_by_its_name_without_its_ending() -> None:
    assert Probe(source="pairs", path="data/captions.v2.csv", score="retrieval").name == "captions-v2"


def test_the_severity_is_filled_in_where_a_shift_has_one() -> None:
    assert Source(source="digits", shift="noisy").severity == 3
    assert Source(source="digits", shift="noisy", severity=1).severity == 1
    assert Source(source="digits", shift="inverted").severity is None
    assert Source(source="digits").severity is None


MISTAKES = [
    ("{source: folder}", "path: missing: the source folder needs one, such as path: data/flowers"),
    ("{source: folder, path: ''}", "path: must not be empty"),
    (
        "{source: digits, path: x}",
        "path: not for the source digits, but for folder, torchvision, huggingface, webdataset, pairs; remo",
    ),
    (
        "{source: torchvision, path: x}",
        "dataset: missing: the source torchvision needs one, such as dataset:",
    ),
    ("{source: torchvision, dataset: CIFAR10}", "path: missing: the source torchvision needs one"),
    (
        "{source: folder, path: x, dataset: CIFAR10}",
        "dataset: not for the source folder, but for torchvision",
    ),
    ("{source: folder, path: x, download: true}", "download: not for the source folder, but for torchvision"),
    (
        "{source: glyphs, split: [0, 0.5, 0.5]}",
        "split: not for the source glyphs, but for folder, torchvision",
    ),
    (
        "{source: folder, path: x, split: [0.5, 0.5]}",
        "split: expects the shares of train, val and test, three",
    ),
    ("{source: folder, path: x, split: [0.5, 0.5, 0.5]}", "split: expects the shares"),
    ("{source: folder, path: x, split: [1.5, 0, -0.5]}", "split: expects the shares"),
    ("{source: folder, path: x, split: [.nan, 0, 1]}", "split: expects the shares"),
    ("{source: folder, path: x, split: 0.5}", "split: expects the shares"),
    ("{source: digits, limit: 0}", "limit: must be at least 1, got 0"),
    (
        "{source: digits, classes: []}",
        "classes: expects a list of names, a text file with one name a line, o",
    ),
    ("{source: digits, classes: [1, 2]}", "classes: expects a list of names, a text file"),
    (
        "{source: digits, templates: openai}",
        "templates: expects a list of sentences or a known collection, got",
    ),
    (
        "{source: digits, templates: ['a photo']}",
        "templates: expects sentences with one {} for the class name",
    ),
    ("{source: digits, templates: ['{} {}']}", "templates: expects sentences with one {}"),
    ("{source: digits, templates: ['{name}']}", "templates: expects sentences with one {}"),
    ("{source: digits, severity: 2}", "severity: there is no shift; name one under shift, or remove this"),
    ("{source: digits, shift: inverted, severity: 2}", "severity: inverted has no severity; remove this"),
    ("{source: digits, shift: noisy, severity: 6}", "severity: must be at most 5, got 6"),
    ("{source: digits, shift: nosy}", "shift: unknown value 'nosy'; did you mean 'noisy'?"),
    ("{source: digits, score: knn, k: 0}", "k: must be at least 1, got 0"),
    ("{source: digits, score: linear, k: 5}", "k: only the score knn has it, not linear; remove it"),
    ("{source: digits, score: linear, temperature: 1}", "temperature: only the score knn has it, not linear"),
    (
        "{source: pairs, path: x.csv}",
        "score: pictures with captions are scored by retrieval; write score: ret",
    ),
    ("{source: digits, score: retrieval}", "score: retrieval needs captions; use source: pairs, or score di"),
    (
        "{source: pairs, path: x.csv, score: retrieval, templates: imagenet}",
        "templates: not for the source pairs, but for digits, glyphs, glyph_colors, folder, torchvision",
    ),
    (
        "{source: pairs, path: x.csv, score: retrieval, metric: mean_per_class}",
        "metric: not for the source pairs, but for digits, ",
    ),
    ("{source: digits, metric: mean}", "metric: unknown value 'mean'; allowed: top1, mean_per_class"),
    ("{source: webdataset}", "path: missing: the source webdataset needs one"),
    ("{source: folder, path: x, config: a}", "config: not for the source folder, but for huggingface; remov"),
    (
        "{source: webdataset, path: x, label_column: a}",
        "label_column: not for the source webdataset, but for",
    ),
    ("{source: huggingface}", "path: the source huggingface needs a path on disk, or a dataset on the hub;"),
    (
        "{source: huggingface, path: x, dataset: a/b}",
        "path: the source huggingface needs a path on disk, or ",
    ),
    ("{source: huggingface, path: x, download: true}", "download: what lies at a path is not fetched; remov"),
    (
        "{source: folder, path: x, class_subset: true, score: knn}",
        "class_subset: knn asks for the set's own classes alone, however many there are; remove it",
    ),
]


@pytest.mark.parametrize(("written", "message"), MISTAKES, ids=[written for written, _ in MISTAKES])
def test_what_does_not_belong_together_is_told_in_one_line(written: str, message: str) -> None:
    with pytest.raises(SpaceError) as told:
        load_space(SHIPPED, [f"data.probes.0={written}"])
    assert f": data.probes.0.{message}" in str(told.value)
    assert "\n" not in str(told.value)


def test_pairs_are_no_task() -> None:
    with pytest.raises(SpaceError, match=r"data\.id\.source: unknown value 'pairs'; allowed: digits, "):
        load_space(SHIPPED, ["data.id={source: pairs, path: x.csv}"])


def test_a_subset_of_classes_is_for_shifted_sets_and_for_a_classifier() -> None:
    load_space(SHIPPED, ["data.ood.0={source: folder, path: imagenet-r, class_subset: true}"])
    probe = Probe(source="folder", path="imagenet-r", score="head", class_subset=True)
    assert Probe(**probe.dump()) == probe
    with pytest.raises(
        SpaceError, match=r"ood\.0\.class_subset: not for the source digits, but for folder, "
    ):
        load_space(SHIPPED, ["data.ood.0={source: digits, class_subset: true}"])


def test_the_task_is_no_subset_of_itself() -> None:
    with pytest.raises(SpaceError, match=r"data\.id\.class_subset: the task has the classes that its data"):
        load_space(SHIPPED, ["data.id={source: folder, path: x, class_subset: true}"])


def test_a_tracker_is_given_the_accuracies_that_are_means_per_class() -> None:
    assert "data.mean_per_class" not in load_space(SHIPPED).flat()
    space = load_space(SHIPPED, ["data.id.metric=mean_per_class", "data.probes.0.metric=mean_per_class"])
    label = space.data.probes[0].label
    assert space.flat()["data.mean_per_class"] == f"id_accuracy,probe/{label}"
