from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from open_clip import (
    IMAGENET_CLASSNAMES,
    OPENAI_IMAGENET_TEMPLATES,
    SIMPLE_IMAGENET_TEMPLATES,
)
from timm.data import ImageNetInfo

from trainables.data.names import class_names, sentences
from trainables.errors import MissingError, ProblemError

MakeSource = Callable[..., dict[str, Any]]


def test_class_names_are_the_sets_own_or_those_asked_for(tmp_path: Path, make_source: MakeSource) -> None:
    own = ("n01", "n02")
    assert class_names(make_source("digits"), own) == own
    assert class_names(make_source("digits", classes=["a dog", "a cat"]), own) == ("a dog", "a cat")
    (tmp_path / "names.txt").write_text("\ufeffdog\n  chat à poil \n\n", encoding="utf-8")
    written = make_source("digits", classes=str(tmp_path / "names.txt"))
    assert class_names(written, own) == ("dog", "chat à poil")
    imagenet = class_names(make_source("digits", classes="imagenet"), range(1000))  # type: ignore[arg-type]
    assert imagenet == tuple(IMAGENET_CLASSNAMES)


def test_folders_called_by_imagenets_ids_are_named_by_them(make_source: MakeSource) -> None:
    """All or some, wherever they stand; timm's descriptions begin with the same animals."""
    source, ids = make_source("digits", classes="imagenet"), ("n02084071", "n02123045", "n01440764")
    assert class_names(source, ids[1:]) == ("tabby cat", "tench")
    assert class_names(source, sorted(ImageNetInfo().label_names())) == tuple(IMAGENET_CLASSNAMES)
    with pytest.raises(ProblemError, match="classes: 1000 names are given for the 3 classes n02084071, "):
        class_names(source, ids)  # a dog, but none of the 1,000


def test_class_names_that_cannot_be_had_are_told(tmp_path: Path, make_source: MakeSource) -> None:
    with pytest.raises(
        ProblemError, match=r"classes: 1000 names are given for the 4 classes a, b, c, \.\.\.$"
    ):
        class_names(make_source("digits", classes="imagenet"), ("a", "b", "c", "d"))
    with pytest.raises(
        MissingError, match=r"classes: no such file: .*imagnet; expects imagenet, a list, or "
    ):
        class_names(make_source("digits", classes=str(tmp_path / "imagnet")), ("a",))
    with pytest.raises(ProblemError, match="cannot be read as UTF-8 text: "):
        class_names(make_source("digits", classes=str(tmp_path)), ("a",))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ProblemError, match=r"latin\.txt cannot be read as UTF-8 text: "):
        class_names(make_source("digits", classes=str(tmp_path / "latin.txt")), ("a",))


def test_sentences_are_those_of_open_clip_or_of_the_source(make_source: MakeSource) -> None:
    assert sentences(make_source("digits")) == ("a photo of a {}.",)
    assert sentences(make_source("digits"), ["the digit {}"]) == ("the digit {}",)
    assert sentences(make_source("digits", templates=["one {}"]), ["the digit {}"]) == ("one {}",)
    for name, theirs in (("imagenet", OPENAI_IMAGENET_TEMPLATES), ("simple", SIMPLE_IMAGENET_TEMPLATES)):
        ours = sentences(make_source("digits", templates=name))
        assert [sentence.format("hen") for sentence in ours] == [template("hen") for template in theirs]
