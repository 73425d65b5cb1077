"""What is learned and what is remembered."""

import re
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from search_spaces.errors import Mistake, remedy, shown
from search_spaces.part import Name, Part, Seed, mistaken, refuse, refuse_repeats

LONGEST_LABEL = 64
USUAL_SEVERITY = 3

_ON_DISK = ("folder", "torchvision", "huggingface", "webdataset")
_CLASSIFIED = ("digits", "glyphs", "glyph_colors", *_ON_DISK)


# fmt: off
KNOWN_SETS = (
    "caltech101", "cifar10", "cifar100", "country211", "dtd", "eurosat", "fer2013", "fgvcaircraft",
    "flowers102", "food101", "gtsrb", "imagenet", "mnist", "oxfordiiitpet", "pcam", "qmnist",
    "renderedsst2", "stanfordcars", "stl10", "sun397", "svhn",
)
# fmt: on
"""Data sets whose templates, and mostly class names, are known."""

_COLLECTIONS = (*KNOWN_SETS, "simple")


def _shares(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, list | tuple) else ()
    right = all(isinstance(n, int | float) and not isinstance(n, bool) and n >= 0 for n in numbers)
    if len(numbers) != 3 or not right or not abs(sum(numbers) - 1) < 1e-6:
        raise mistaken(
            "expects the shares of train, val and test, three numbers that sum to 1, such as [0.6, 0.2, 0.2]"
        )
    return tuple(numbers)


def _names(value: object) -> str | tuple[str, ...] | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(n, str) and n.strip() for n in value):
        return tuple(value)
    raise mistaken(
        "expects a list of names, a text file with one name a line, or a known data set such as imagenet, "
        f"got {shown(value)}"
    )


def _templates(value: object) -> str | tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value.lower() in _COLLECTIONS:
            return value.lower()
        raise mistaken(
            f"expects a list of sentences or a known collection, got {shown(value)}; "
            f"{remedy(value, _COLLECTIONS, 'known:')}"
        )
    if not isinstance(value, list | tuple) or not value:
        raise mistaken(
            f"expects a list of sentences, or a known collection such as imagenet, got {shown(value)}"
        )
    for sentence in value:
        if not isinstance(sentence, str) or not re.fullmatch(r"[^{}]*\{\}[^{}]*", sentence):
            raise mistaken(f"expects sentences with one {{}} for the class name each, got {shown(sentence)}")
    return tuple(value)


_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}

Shares = Annotated[
    tuple[float, float, float] | None,
    BeforeValidator(_shares),
    WithJsonSchema(
        {"type": ["array", "null"], "items": {"type": "number", "minimum": 0}, "minItems": 3, "maxItems": 3}
    ),
]
"""How much of a set each split gets: train, val, test."""

ClassNames = Annotated[
    str | tuple[str, ...] | None,
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _TEXTS, {"type": "null"}]}),
]
"""Class names: a list, a known data set, or a text file of them."""

Templates = Annotated[
    str | tuple[str, ...] | None,
    BeforeValidator(_templates),
    WithJsonSchema({"anyOf": [{"enum": list(_COLLECTIONS)}, _TEXTS, {"type": "null"}]}),
]
"""Sentences with one {} each: a list, those of a known data set, or open_clip's simple ones."""


class DataSet(Part):
    """Pictures, how they are split and named, and how they are changed.

    A validated set has its ``name`` filled in.
    """

    # Which sources have a setting; what stands here belongs to no other source.
    BELONGS: ClassVar[dict[str, tuple[str, ...]]] = {
        "path": (*_ON_DISK, "pairs"),
        "dataset": ("torchvision", "huggingface"),
        "config": ("huggingface",),
        "image_column": ("huggingface",),
        "label_column": ("huggingface",),
        "download": ("torchvision", "huggingface"),
        "split": (*_ON_DISK, "pairs"),
        "classes": _CLASSIFIED,
        "class_subset": _ON_DISK,
        "damaged": _ON_DISK,
        "templates": _CLASSIFIED,
        "metric": _CLASSIFIED,
    }
    # A set of Hugging Face has one of the two, see `_hub_mistakes`.
    NEEDED: ClassVar[dict[str, str]] = {"path": "path: data/flowers", "dataset": "dataset: CIFAR100"}

    source: str
    path: str | None = Field(
        default=None,
        min_length=1,
        description="folder: the folder of class folders, with {split} for train, val, test where they lie "
        "apart; torchvision: where its files are; huggingface: a saved data set, parquet files or an image "
        "folder; webdataset: the folder of shards, or their pattern with {split} and {000..012}; pairs: the "
        "CSV file. ${SWEEPER_DATA} and ~ are expanded",
    )
    dataset: str | None = Field(
        default=None,
        min_length=1,
        description="torchvision: the name of the data set's class; huggingface: the data set's name on the "
        "hub, in place of path",
    )
    config: str | None = Field(
        default=None, min_length=1, description="huggingface: which configuration, where there are several"
    )
    image_column: str | None = Field(
        default=None, min_length=1, description="huggingface: the pictures, where several columns could be"
    )
    label_column: str | None = Field(
        default=None, min_length=1, description="huggingface: the labels, where several columns could be"
    )
    download: bool = Field(
        default=False,
        description="whether missing files are fetched: torchvision's into path, huggingface's into a cache",
    )
    split: Shares = Field(
        default=None,
        description="the shares of train, val and test, for a set that comes without splits; "
        "null takes 0.6, 0.2 and 0.2, or all as test for a set that is only tested on",
    )
    seed: Seed = Field(default=0, description="seed of the split and of the pictures that limit chooses")
    limit: int | None = Field(
        default=None, ge=1, description="at most so many pictures of each split, evenly from every class"
    )
    val_limit: int | None = Field(
        default=None,
        ge=1,
        description="at most so many pictures of the validation split, which is measured again and again",
    )
    damaged: int = Field(
        default=0,
        ge=0,
        description="pictures of a split that may be left out since they cannot be read; more are refused",
    )
    classes: ClassNames = Field(
        default=None,
        description="the class names in the order of the labels: a list, a text file with one name a line, "
        "or a known data set such as imagenet or cifar100; null takes those of CLIP_benchmark for a data set "
        "of torchvision, else the folders' names, with spaces between their words",
    )
    class_subset: bool = Field(
        default=False,
        description="whether the set has only some of the classes, as ImageNet-A and ImageNet-R have: of the "
        "task's (ood), or of the pre-trained classifier's (score head). Answers are among those only",
    )
    templates: Templates = Field(
        default=None,
        description="sentences with one {} for the class name: a list, or a known data set such as imagenet; "
        "null takes those of CLIP_benchmark for a known data set, or 'a photo of a {}.'",
    )
    metric: Literal["top1", "mean_per_class"] = Field(
        default="top1",
        description="the accuracy: the share of right answers, or the mean over the classes of that share",
    )
    shift: (
        Literal["inverted", "rotated", "blurred", "noisy", "contrast", "brightness", "pixelated", "jpeg"]
        | None
    ) = Field(default=None, description="how the pictures are changed; null leaves them as they are")
    severity: int | None = Field(
        default=None,
        ge=1,
        le=5,
        description="how strongly they are changed, 1 to 5; null takes 3, but inverted has no severity",
    )
    name: Name | None = Field(
        default=None,
        description="the name on plots and metrics; null takes the folder, the dataset or the source, "
        "and the shift",
    )

    @model_validator(mode="after")
    def _settings_belong(self) -> Self:
        if mistakes := self._mistakes():
            refuse(*mistakes)
        # The class is frozen for its users; what they left out is filled in here, once.
        if self.severity is None and self.shift not in (None, "inverted"):
            object.__setattr__(self, "severity", USUAL_SEVERITY)
        object.__setattr__(self, "name", self.label)
        return self

    @property
    def label(self) -> str:
        """The name on plots and metrics: name, or what the pictures are called, with the shift."""
        if self.name:
            return self.name
        shift = f"-{self.shift}" if self.shift else ""
        return self._plain_label()[: LONGEST_LABEL - len(shift)] + shift

    def _plain_label(self) -> str:
        if self.dataset:
            return _cleaned(self.dataset.rpartition("/")[2]) or self.source
        file = self.path or ""
        if self.source in ("pairs", "webdataset"):
            file = re.sub(r"\.\w+$", "", file)
        parts = [_cleaned(part) for part in re.split(r"[/\\]", file)]
        return next((part for part in reversed(parts) if part), self.source)

    def _mistakes(self) -> list[Mistake]:
        found = []
        for key, sources in self.BELONGS.items():
            given = getattr(self, key) != type(self).model_fields[key].default
            if given and self.source not in sources:
                text = f"not for the source {self.source}, but for {', '.join(sources)}; remove it"
                found.append(Mistake((key,), text))
            needed = key in self.NEEDED and self.source != "huggingface"
            if needed and self.source in sources and not given:
                text = f"missing: the source {self.source} needs one, such as {self.NEEDED[key]}"
                found.append(Mistake((key,), text))
        if self.source == "huggingface":
            found += self._hub_mistakes()
        if self.severity is not None and self.shift is None:
            found.append(Mistake(("severity",), "there is no shift; name one under shift, or remove this"))
        if self.severity is not None and self.shift == "inverted":
            found.append(Mistake(("severity",), "inverted has no severity; remove this"))
        return found

    def _hub_mistakes(self) -> list[Mistake]:
        """A set of Hugging Face lies at a path, or has a name on the hub."""
        if (self.path is None) == (self.dataset is None):
            text = "the source huggingface needs a path on disk, or a dataset on the hub; give one of the two"
            return [Mistake(("path",), text)]
        if self.download and self.dataset is None:
            return [Mistake(("download",), "what lies at a path is not fetched; remove this")]
        return []


class Source(DataSet):
    """A data set, as it is or shifted."""

    source: Literal[
        "digits", "glyphs", "glyph_colors", "folder", "torchvision", "huggingface", "webdataset"
    ] = Field(
        description="the pictures: scanned digits, printed letters and digits, the colours of printed ones, "
        "a folder of class folders, a data set of torchvision or of Hugging Face, or WebDataset shards"
    )


class Probe(DataSet):
    """A data set of the pre-training domain, and how it is scored."""

    source: Literal[
        "digits", "glyphs", "glyph_colors", "folder", "torchvision", "huggingface", "webdataset", "pairs"
    ] = Field(description="the pictures, as for a task; or pairs: a CSV file of pictures and captions")
    score: Literal["zero_shot", "knn", "head", "linear", "retrieval"] = Field(
        default="zero_shot",
        description="how the probe is scored: by class prompts, by nearest neighbours, by the pre-trained "
        "model's own classifier, by a new linear classifier, or by finding captions and pictures (pairs)",
    )
    k: int = Field(default=20, ge=1, description="knn: how many neighbours vote")
    temperature: float = Field(default=0.07, gt=0, description="knn: how sharply near neighbours count more")

    @model_validator(mode="after")
    def _score_fits(self) -> Self:
        mistakes = []
        if self.source == "pairs" and self.score != "retrieval":
            text = "pictures with captions are scored by retrieval; write score: retrieval"
            mistakes.append(Mistake(("score",), text))
        if self.score == "retrieval" and self.source != "pairs":
            text = f"retrieval needs captions; use source: pairs, or score {self.source} otherwise"
            mistakes.append(Mistake(("score",), text))
        for key in ("k", "temperature"):
            if self.score != "knn" and getattr(self, key) != type(self).model_fields[key].default:
                mistakes.append(Mistake((key,), f"only the score knn has it, not {self.score}; remove it"))
        if self.class_subset and self.score != "head":
            text = f"{self.score} asks for the set's own classes alone, however many there are; remove it"
            mistakes.append(Mistake(("class_subset",), text))
        if mistakes:
            refuse(*mistakes)
        return self


AnySet = TypeVar("AnySet", bound=DataSet)


def _own_labels(sources: tuple[AnySet, ...]) -> tuple[AnySet, ...]:
    refuse_repeats((source.label for source in sources), "give one of the two another name")
    return sources


def _cleaned(part: str) -> str:
    """A part of a path as a name: without placeholders, other characters replaced by '-'."""
    plain = re.sub(r"\$?\{[^}]*\}", "", part)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_")


class Data(Part):
    """The data of a sweep; labels are unique among the ood sets and among the probes."""

    id: Source = Field(description="the in-distribution task, which is trained on")
    ood: Annotated[tuple[Source, ...], Field(strict=False), AfterValidator(_own_labels)] = Field(
        default=(), description="shifted versions of the task, which are only tested on"
    )
    probes: Annotated[tuple[Probe, ...], Field(strict=False, min_length=1), AfterValidator(_own_labels)] = (
        Field(description="at least one data set of the pre-training domain, on which forgetting is measured")
    )

    @model_validator(mode="after")
    def _task_is_whole(self) -> Self:
        if self.id.class_subset:
            text = "the task has the classes that its data have; only ood sets and probes have it; remove it"
            refuse(Mistake(("id", "class_subset"), text))
        return self

    def labels(self) -> dict[str, str | list[str]]:
        """The labels of what stands under each key, and the metrics that are a mean per class, if any."""
        named: dict[str, DataSet] = {"id_accuracy": self.id}
        named |= {f"ood/{source.label}": source for source in self.ood}
        named |= {f"probe/{probe.label}": probe for probe in self.probes}
        per_class = [name for name, each in named.items() if each.metric == "mean_per_class"]
        return {
            "id": self.id.label,
            "ood": [source.label for source in self.ood],
            "probes": [probe.label for probe in self.probes],
            **({"mean_per_class": per_class} if per_class else {}),
        }
