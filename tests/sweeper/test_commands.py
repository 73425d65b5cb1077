"""What commands say of sets whose accuracies are not plain."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from search_spaces import load_space
from sweeper import cli
from sweeper.commands.evaluate import evaluation_table
from sweeper.driver.pictures import pictures
from trainables import open_problem
from trainables.backbones import open_backbone
from trainables.engine.training import Training, measure_reference
from trainables.export import FORMATS, Trained

SHIPPED = Path(__file__).parents[2] / "spaces" / "clip_lambda.yaml"


def test_the_table_of_an_evaluation_names_means_per_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = load_space(
        SHIPPED,
        [
            "data.id.limit=20",
            "data.id.metric=mean_per_class",
            "data.ood=[{source: digits, limit: 20, shift: inverted, metric: mean_per_class},"
            " {source: digits, limit: 20, shift: inverted, name: plain}]",
            "data.probes=[{source: glyphs, limit: 20}]",
        ],
    )
    torch.save(open_backbone(**space.model.dump()).plain_state(), "same.pt")
    torch.set_num_threads(2)
    table = evaluation_table(Path("same.pt"), space)
    assert torch.get_num_threads() == 1  # a trial's
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    (plain,) = [line for line in capture.get().splitlines() if line.strip().startswith("ood/plain %")]
    # On test, before and after; the third stands in the caption.
    assert (plain.count(" ± "), capture.get().count(" ± ")) == (2, 3)
    rows = [line.rsplit(maxsplit=4)[0].strip() for line in capture.get().splitlines() if "%" in line]
    assert rows[0] == "ID accuracy %, mean per class"
    assert "ood/digits-inverted %, mean per class" in rows and "probe/glyphs %" in rows


def test_the_pictures_of_all_splits_are_counted_and_a_subset_of_classes_is_told() -> None:
    space = load_space(
        SHIPPED,
        [
            "data.id={source: digits, limit: 30, val_limit: 20}",
            "data.ood=[{source: digits, limit: 25, name: some}]",
            "data.probes=[{source: glyphs, score: knn, limit: 40, name: letters}]",
        ],
    )
    problem = open_problem(space)
    counted = [
        "pictures of id: train 30, val 20, test 30; 10 classes",
        "pictures of ood/some: test 25",
        "pictures of probe/letters: train 40, val 40, test 40",
        "standard error of an ID accuracy of 90 %: 6.7 points on val",
    ]
    assert list(pictures(problem)) == counted
    some = problem.ood["some"].placed([3, 1, 4, 0, 2, 5, 6, 7, 8, 9])
    assert list(pictures(replace(problem, ood={"some": some}))) == counted
    fewer = replace(some, answers=torch.tensor([1, 3]))
    assert list(pictures(replace(problem, ood={"some": fewer})))[1] == (
        "pictures of ood/some: test 25; answers among 2 of 10 classes"
    )


@pytest.mark.parametrize("form", FORMATS)
def test_pictures_are_classified_by_what_was_exported(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_space(SHIPPED, ["data.id.limit=20", "data.ood=[]"])
    problem = open_problem(loaded)
    FORMATS[form](Trained(Training(problem, [loaded]), loaded.model, {}), tmp_path)
    images = problem.task.val
    files = [str(tmp_path / f"{number}.png") for number in range(len(images.labels))]
    for file, pixels in zip(files, images.pixels, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file)
    monkeypatch.setattr(sys, "argv", ["sweeper", "predict", str(tmp_path), *files])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    answers = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [file for file, _, _ in answers] == files
    classes = problem.task.classes
    right = [classes.index(name) == label for (_, name, _), label in zip(answers, images.labels, strict=True)]
    # Nothing has been trained, so the answers are those of the pre-trained model.
    assert 100 * sum(right) / len(right) == pytest.approx(measure_reference(problem, loaded)["id_accuracy"])
    assert all(1 / len(classes) < float(share) <= 1 for _, _, share in answers)


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sweeper", "predict", str(tmp_path), "a.png"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert f"{tmp_path}: it holds no model" in capsys.readouterr().err
