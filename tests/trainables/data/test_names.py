import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from open_clip import (
    IMAGENET_CLASSNAMES,
    OPENAI_IMAGENET_TEMPLATES,
    SIMPLE_IMAGENET_TEMPLATES,
)
from timm.data import ImageNetInfo
from torchvision.datasets import FashionMNIST, Flowers102

from search_spaces import Source
from trainables.data.known_sets import KNOWN_SETS
from trainables.data.names import as_words, class_names, is_named, refuse_unnamed, sentences
from trainables.errors import MissingError, ProblemError

MakeSource = Callable[..., Source]


def test_class_names_are_the_sets_own_or_those_asked_for(tmp_path: Path, make_source: MakeSource) -> None:
    own = ("dog", "cat")
    assert class_names(make_source("digits"), own) == own
    assert class_names(make_source("digits", classes=["a dog", "a cat"]), own) == ("a dog", "a cat")
    own = ("n01", "n02")
    (tmp_path / "names.txt").write_text("\ufeffdog\n  chat à poil \n\n", encoding="utf-8")
    written = make_source("digits", classes=str(tmp_path / "names.txt"))
    assert class_names(written, own) == ("dog", "chat à poil")
    numbers = [str(number) for number in range(1000)]
    for name in ("imagenet", "ImageNet"):
        imagenet = class_names(make_source("digits", classes=name), numbers)
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
        MissingError, match=r"classes: no such file: .*imagnet; expects a list, a text file w"
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
    for source in (
        make_source("folder", path="x", classes="cifar10"),
        make_source("folder", path="x", templates="CIFAR10"),
        make_source("torchvision", path="x", dataset="CIFAR10", classes=list("abcdefghij")),
    ):
        assert len(sentences(source)) == 18 and sentences(source)[1] == "a blurry photo of a {}."
    assert sentences(make_source("digits", templates=["one {}"]), ["the digit {}"]) == ("one {}",)
    for name, theirs in (("imagenet", OPENAI_IMAGENET_TEMPLATES), ("simple", SIMPLE_IMAGENET_TEMPLATES)):
        ours = sentences(make_source("digits", templates=name))
        assert [sentence.format("hen") for sentence in ours] == [template("hen") for template in theirs]


def in_clip_benchmark(kind: str) -> dict[str, list[str]]:
    found = find_spec("clip_benchmark")
    if found is None or found.origin is None:
        pytest.skip("needs the package clip-benchmark, or its unpacked wheel on PYTHONPATH")
    file = Path(found.origin).parent / "datasets" / f"en_{kind}.json"
    content: dict[str, list[str]] = json.loads(file.read_text())
    return content


THEIR_NAMES = {
    "imagenet": "imagenet1k",
    "oxfordiiitpet": "pets",
    "flowers102": "flowers",
    "stanfordcars": "cars",
    "fgvcaircraft": "fgvc_aircraft",
    "qmnist": "mnist",
}


def test_known_names_and_templates_are_those_of_clip_benchmark() -> None:
    templates = in_clip_benchmark("zeroshot_classification_templates")
    classes = in_clip_benchmark("classnames")
    for name, known in KNOWN_SETS.items():
        theirs = THEIR_NAMES.get(name, name)
        assert known.templates == tuple(sentence.replace("{c}", "{}") for sentence in templates[theirs])
        if known.classes is not None and theirs in classes:
            order = sorted if name == "fer2013" else list  # theirs are in the order of folders
            assert order(known.classes) == [each for each in classes[theirs] if each != "background"]


def test_known_names_are_in_the_order_of_torchvisions_labels() -> None:
    flowers = KNOWN_SETS["flowers102"].classes
    assert flowers is not None and len(flowers) == len(Flowers102.classes)
    differ = [ours for ours, theirs in zip(flowers, Flowers102.classes, strict=True) if ours != theirs]
    assert differ == ["globe flower", "pink and yellow dahlia", "air plant"]
    assert KNOWN_SETS["imagenet"].classes == tuple(IMAGENET_CLASSNAMES)
    assert KNOWN_SETS["imagenet"].templates == tuple(t("{}") for t in OPENAI_IMAGENET_TEMPLATES)
    emotions = KNOWN_SETS["fer2013"].classes  # the data set's codes: 3 is happiness, 5 surprise, 6 neutral
    assert emotions is not None and [emotions[code] for code in (3, 5, 6)] == [
        "happy",
        "surprised",
        "neutral",
    ]
    counts = {name: len(known.classes) for name, known in KNOWN_SETS.items() if known.classes}
    assert counts == {
        "caltech101": 101,
        "cifar10": 10,
        "cifar100": 100,
        "country211": 211,
        "eurosat": 10,
        "fer2013": 7,
        "flowers102": 102,
        "gtsrb": 43,
        "imagenet": 1000,
        "mnist": 10,
        "oxfordiiitpet": 37,
        "pcam": 2,
        "qmnist": 10,
        "renderedsst2": 2,
        "stl10": 10,
        "svhn": 10,
    }
    assert list(KNOWN_SETS["cifar100"].classes or ()) == sorted(KNOWN_SETS["cifar100"].classes or ())


@pytest.mark.parametrize(
    ("dataset", "own", "names"),
    [
        (
            "EuroSAT",
            ["AnnualCrop", "Forest", *"abcdefg", "SeaLake"],
            {0: "annual crop land", 9: "lake or sea"},
        ),
        (
            "GTSRB",
            [str(label) for label in range(43)],
            {0: "red and white circle 20 kph speed limit", 14: "stop"},
        ),
        ("SVHN", [str(label) for label in range(10)], {0: "zero", 9: "nine"}),
        ("MNIST", [f"{label} - name" for label in range(10)], {0: "0", 9: "9"}),
        ("PCAM", ["0", "1"], {0: "lymph node"}),
        (
            "Caltech101",
            ["Faces", "Faces_easy", *map(str, range(99))],
            {0: "off-center face", 1: "centered face"},
        ),
        ("CIFAR100", ["apple", "aquarium_fish"], {1: "aquarium fish"}),
        ("Food101", ["apple_pie", "baby_back_ribs"], {1: "baby back ribs"}),
        ("SUN397", ["abbey", "apartment_building/outdoor"], {1: "apartment building outdoor"}),
        ("FGVCAircraft", ["707-320", "F-16A/B", "DC-3"], {0: "707-320", 1: "F-16A/B"}),
        ("StanfordCars", ["Ram C/V Cargo Van Minivan 2012"], {0: "Ram C/V Cargo Van Minivan 2012"}),
        ("FashionMNIST", FashionMNIST.classes, {1: "Trouser"}),
    ],
)
def test_a_set_of_torchvision_has_the_names_of_clip_benchmark(
    make_source: MakeSource, dataset: str, own: list[str], names: dict[int, str]
) -> None:
    source = make_source("torchvision", dataset=dataset, path="x")
    found = class_names(source, own)
    assert len(found) == len(own) and {place: found[place] for place in names} == names
    refuse_unnamed(source, found)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (("aquarium_fish", "maple__tree_"), ("aquarium fish", "maple tree")),
        (("AnnualCrop", "SeaLake", "River"), ("Annual Crop", "Sea Lake", "River")),
        (("McDonald", "iPhone", "USB", "PhD"), ("McDonald", "iPhone", "USB", "PhD")),
        (("001.Black_footed_Albatross", "002.Crow"), ("Black footed Albatross", "Crow")),
        (("n02085620-Chihuahua", "n02085782-Japanese_spaniel"), ("Chihuahua", "Japanese spaniel")),
        (("7_up", "cola"), ("7 up", "cola")),
        (("2_door", "4_door"), ("2 door", "4 door")),
        (("0", "1"), ("0", "1")),
        (("_", "__"), ("_", "__")),
        (("black-eyed susan", "T-shirt"), ("black-eyed susan", "T-shirt")),
    ],
)
def test_names_of_folders_are_given_as_words(own: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert as_words(own) == words


def test_two_folders_that_read_the_same_are_refused() -> None:
    with pytest.raises(
        ProblemError, match=r"^classes: sea_horse and sea horse are both 'sea horse' in words; gi"
    ):
        as_words(["dog", "sea_horse", "sea horse"])


IDS = ["12", "007", "-3", "n01440764", "c3", "class_4", "Label 5", "9f86d081884c7d65"]
IDS += ["s1", "k 10", "cl_12", "#5", "cat_001", "Person 007"]
SPOKEN = ["cat", "A", "747-400", "7 up", "type 2", "facade", "3D printer", "кот", "猫", "cat 1"]
# Of FGVC-Aircraft and Stanford Cars, as their authors spell them.
SPOKEN += ["A320", "A300B4", "An-12", "C-130", "C-47", "DC-10", "E-170", "F-16A/B", "Il-76", "L-1011"]
SPOKEN += ["MD-11", "707-320", "BAE 146-200", "Boeing 717", "Cessna 172", "DHC-8-100", "ERJ 145", "F/A-18"]
SPOKEN += ["SR-20", "Tu-154", "Yak-42", "Audi TTS Coupe 2012", "BMW X5 SUV 2007", "Volvo 240 Sedan 1993"]


@pytest.mark.parametrize("bare", IDS)
def test_numbers_and_ids_are_no_names(make_source: MakeSource, bare: str) -> None:
    source, names = make_source("folder", path="x"), ("cat", bare)
    assert not is_named(source, names)
    with pytest.raises(
        ProblemError, match=f"^classes: '{bare}' is a number or an id, of which no prompt can be"
    ):
        refuse_unnamed(source, names)
    refuse_unnamed(make_source("folder", path="x", classes=["cat", bare]), names)


@pytest.mark.parametrize("name", SPOKEN)
def test_what_has_a_word_is_a_name(make_source: MakeSource, name: str) -> None:
    refuse_unnamed(make_source("folder", path="x"), ("dog", name))


def test_every_known_name_but_mnists_digits_is_a_name(make_source: MakeSource) -> None:
    source = make_source("folder", path="x")
    unnamed = [set_ for set_, known in KNOWN_SETS.items() if not is_named(source, known.classes or ())]
    assert unnamed == ["mnist", "qmnist"]


def test_ids_of_imagenet_are_told_with_its_names(make_source: MakeSource) -> None:
    with pytest.raises(ProblemError, match=r"or a known data set \(classes: imagenet names these\)$"):
        refuse_unnamed(make_source("folder", path="x"), ("n01440764", "n01443537"))


@pytest.mark.parametrize(
    ("own", "names", "message"),
    [
        (("cat", "dog"), ["dog", "cat"], "'dog' stands where the data have cat; give them in the order of"),
        (
            ("american_bulldog", "Beagle"),
            ["Beagle", "American Bulldog"],
            "'Beagle' stands where the data have am",
        ),
        (
            ("k1", "k10", "k2"),
            ["one", "two", "ten"],
            r"the data's classes are in the order of text \(k1, k10, k2",
        ),
        (("0", "1", "10", "2"), ["zero", "one", "ten", "two"], "the data's classes are in the order of text"),
        (("a", "b"), ["dog", "c\nt"], r"'c\\nt' has control characters; give it without them"),
    ],
)
def test_names_for_other_classes_are_refused(
    make_source: MakeSource, own: tuple[str, ...], names: list[str], message: str
) -> None:
    with pytest.raises(ProblemError, match=f"^classes: {message}"):
        class_names(make_source("folder", path="x", classes=names), own)


def test_names_without_letters_are_for_numbered_classes_too(make_source: MakeSource) -> None:
    names = ["A300", "Boeing 707", "747-400"]
    assert class_names(make_source("folder", path="x", classes=names), ("0", "1", "2")) == tuple(names)


def test_names_of_imagenet_are_for_its_synsets(make_source: MakeSource) -> None:
    source, synsets = make_source("folder", path="x", classes="imagenet"), ImageNetInfo().label_names()
    assert class_names(source, sorted(synsets)) == tuple(IMAGENET_CLASSNAMES)
    with pytest.raises(
        ProblemError, match=r"^classes: n99999999 stands where ImageNet-1k has n15075141; give the"
    ):
        class_names(source, [*synsets[:-1], "n99999999"])


def test_names_may_be_said_otherwise(make_source: MakeSource) -> None:
    for own, names in (
        (("cat", "dog"), ("a cat", "a dog")),
        (("1", "2", "3"), ("2", "3", "4")),
        (("k01", "k02", "k10"), ("one", "two", "ten")),
    ):
        assert class_names(make_source("folder", path="x", classes=names), own) == names
