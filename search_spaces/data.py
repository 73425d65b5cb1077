"""What is learned and what is remembered."""

import re
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from search_spaces.errors import Mistake, shown
from search_spaces.part import Name, Part, Seed, mistaken, refuse, refuse_repeats

LONGEST_LABEL = 64
USUAL_SEVERITY = 3


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
        f"expects imagenet, a list of names, or a text file with one name a line, got {shown(value)}"
    )


def _templates(value: object) -> str | tuple[str, ...] | None:
    if value is None or value in ("imagenet", "simple"):
        return value
    if not isinstance(value, list | tuple) or not value:
        raise mistaken(f"expects imagenet, simple, or a list of sentences, got {shown(value)}")
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
"""Class names: a list, 'imagenet', or a text file of them."""

Templates = Annotated[
    str | tuple[str, ...] | None,
    BeforeValidator(_templates),
    WithJsonSchema({"anyOf": [{"enum": ["imagenet", "simple"]}, _TEXTS, {"type": "null"}]}),
]
"""Sentences with one {} each: a list, or one of open_clip's collections."""


class DataSet(Part):
    """Pictures, how they are split and named, and how they are changed.

    A validated set has its ``name`` filled in.
    """

    # Which sources have a setting; what stands here belongs to no other source.
    BELONGS: ClassVar[dict[str, tuple[str, ...]]] = {
        "path": ("folder", "torchvision", "pairs"),
        "dataset": ("torchvision",),
        "download": ("torchvision",),
        "split": ("folder", "torchvision", "pairs"),
        "classes": ("digits", "glyphs", "glyph_colors", "folder", "torchvision"),
        "templates": ("digits", "glyphs", "glyph_colors", "folder", "torchvision"),
    }
    NEEDED: ClassVar[dict[str, str]] = {"path": "path: data/flowers", "dataset": "dataset: CIFAR100"}

    source: str
    path: str | None = Field(
        default=None,
        min_length=1,
        description="folder: the folder of class folders, with {split} for train, val, test where they lie "
        "apart; torchvision: where its files are; pairs: the CSV file. ${SWEEPER_DATA} and ~ are expanded",
    )
    dataset: str | None = Field(
        default=None, min_length=1, description="torchvision: the name of the data set's class"
    )
    download: bool = Field(
        default=False, description="torchvision: whether missing files are fetched into path"
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
    classes: ClassNames = Field(
        default=None,
        description="the class names in the order of the labels: imagenet, a list, or a text file with one "
        "name a line; null takes the folders' names or those that the set has",
    )
    templates: Templates = Field(
        default=None,
        description="sentences with one {} for the class name: imagenet, simple, or a list; null takes "
        "the set's own, or 'a photo of a {}.'",
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
            return _cleaned(self.dataset) or self.source
        file = self.path or ""
        if self.source == "pairs":
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
            if key in self.NEEDED and self.source in sources and not given:
                text = f"missing: the source {self.source} needs one, such as {self.NEEDED[key]}"
                found.append(Mistake((key,), text))
        if self.severity is not None and self.shift is None:
            found.append(Mistake(("severity",), "there is no shift; name one under shift, or remove this"))
        if self.severity is not None and self.shift == "inverted":
            found.append(Mistake(("severity",), "inverted has no severity; remove this"))
        return found


class Source(DataSet):
    """A data set, as it is or shifted."""

    source: Literal["digits", "glyphs", "glyph_colors", "folder", "torchvision"] = Field(
        description="the pictures: scanned digits, printed letters and digits, the colours of printed ones, "
        "a folder of class folders, or a data set of torchvision"
    )


class Probe(DataSet):
    """A data set of the pre-training domain, and how it is scored."""

    source: Literal["digits", "glyphs", "glyph_colors", "folder", "torchvision", "pairs"] = Field(
        description="the pictures, as for a task; or pairs: a CSV file of pictures and captions"
    )
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

    def labels(self) -> dict[str, str | list[str]]:
        """The labels of what stands under each key."""
        return {
            "id": self.id.label,
            "ood": [source.label for source in self.ood],
            "probes": [probe.label for probe in self.probes],
        }
