"""What is searched, and how."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from search_spaces.errors import Mistake, Path
from search_spaces.limits import Limits
from search_spaces.part import Name, Number, Part, Scalar, Seed, UniqueItems, refuse

RANGE, CHOICES = "<range>", "<choices>"
"""What pydantic's errors call the two kinds of domain; no key of a space looks like it."""

_ONE = {"type": ["string", "number", "boolean", "null"]}


def _several(value: object) -> object:
    """One value as a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


When = Annotated[
    dict[
        str,
        Annotated[
            tuple[Scalar, ...],
            Field(strict=False, min_length=1),
            UniqueItems,
            BeforeValidator(_several),
            WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}),
        ],
    ],
    Field(
        description="which trials are asked for it: paths of searched choices, each with the value that a "
        "trial must have there, or a list of them; elsewhere the space's own value stays",
        exclude_if=lambda when: not when,
    ),
]


class Range(Part):
    """Numbers from low to high: whole where the setting is, else any, or those in steps from low."""

    low: Number = Field(description="smallest value")
    high: Number = Field(description="largest value, above low")
    log: bool = Field(
        default=False, description="whether orders of magnitude are equally likely; needs low above 0"
    )
    step: Number | None = Field(default=None, description="distance between values; not with log")
    when: When = Field(default={})

    @model_validator(mode="after")
    def _possible(self) -> Self:
        mistakes = []
        if self.low >= self.high:
            mistakes.append(Mistake(("high",), f"must be above low, got low {self.low} and high {self.high}"))
        elif self.step is not None and not 0 < self.step <= self.high - self.low:
            text = f"must be above 0 and at most high - low = {self.high - self.low}, got {self.step}"
            mistakes.append(Mistake(("step",), text))
        if self.log and self.low <= 0:
            mistakes.append(Mistake(("low",), f"must be above 0 for a log range, got {self.low}"))
        if self.log and self.step is not None:
            mistakes.append(Mistake(("step",), "cannot be used with log; remove one of the two"))
        if mistakes:
            refuse(*mistakes)
        return self

    def count(self, whole: bool) -> int | None:
        """How many values there are, or None when every number between low and high is one."""
        if not whole and self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) // _exact(self.step or 1)) + 1

    def values(self, whole: bool) -> list[int | float]:
        """Every value, from low up.

        Raises:
            ValueError: there is no end of them.
        """
        count = self.count(whole)
        if count is None:
            raise ValueError("a range without a step has no list of values")
        return [self._value(place, whole) for place in range(count)]

    def last(self, whole: bool) -> int | float:
        """The largest value: high, or the last step that does not pass it."""
        count = self.count(whole)
        return self.high if count is None else self._value(count - 1, whole)

    def _value(self, place: int, whole: bool) -> int | float:
        exact = _exact(self.low) + place * _exact(self.step or 1)
        return int(exact) if whole else float(exact)

    def holds(self, value: object, whole: bool) -> bool:
        """Whether a value is one of these."""
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return False
        if not self.low <= value <= self.last(whole):
            return False
        return self.step is None or (_exact(value) - _exact(self.low)) % _exact(self.step) == 0

    def ends(self) -> list[tuple[Path, int | float]]:
        """The values that bound all others, each with where it stands."""
        return [(("low",), self.low), (("high",), self.high)]


class Choices(Part):
    """A list of values."""

    choices: Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1), UniqueItems] = Field(
        description="the values to choose from, each once"
    )
    when: When = Field(default={})

    def ends(self) -> list[tuple[Path, bool | int | float | str | None]]:
        """The values that bound all others, each with where it stands: here, all of them."""
        return [(("choices", place), value) for place, value in enumerate(self.choices)]

    def holds(self, value: object, whole: bool) -> bool:
        """Whether a value is one of these."""
        return is_among(value, self.choices)

    def count(self, whole: bool) -> int:
        """How many values there are."""
        return len(self.choices)

    def values(self, whole: bool) -> list[bool | int | float | str | None]:
        """Every value, as written."""
        return list(self.choices)


def is_among(value: object, values: Iterable[object]) -> bool:
    """Whether a value is one of these; true is not 1."""
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in values)


def _exact(number: int | float) -> Fraction:
    """The number as it was written: 0.1 is one tenth."""
    return Fraction(str(number))


def _kind(value: object) -> str:
    has_choices = isinstance(value, Choices) or (isinstance(value, Mapping) and "choices" in value)
    return CHOICES if has_choices else RANGE


Domain = Annotated[
    Annotated[Range, Tag(RANGE)] | Annotated[Choices, Tag(CHOICES)],
    Discriminator(_kind),
]


def _listed(value: object) -> object:
    """One name as a list of one."""
    return (value,) if isinstance(value, str) else value


Names = Annotated[
    tuple[Name, ...],
    Field(strict=False),
    UniqueItems,
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Objectives(Part):
    """The two measures that the front trades off."""

    id_accuracy: Literal["maximize"] = Field(default="maximize", description="accuracy on the task")
    forgetting: Literal["minimize"] = Field(default="minimize", description="accuracy lost on the probes")


class Search(Part):
    """The search over a space."""

    sampler: Literal["tpe", "gp", "nsga2", "random", "grid", "budget"] = Field(
        default="tpe", description="how the next values are chosen"
    )
    trials: int = Field(ge=1, description="how many trials to run, a whole number of at least 1")
    seed: Seed = Field(default=0, description="seed of the sampler")
    prune: bool = Field(default=True, description="whether a trial that others clearly beat is stopped early")
    hours: float | None = Field(
        default=None, gt=0, description="hours after which a driver begins no further trial; null: no limit"
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="trials that end in a row without a larger hypervolume of the front, after which none "
        "begins; null: no limit",
    )
    objectives: Objectives = Field(default=Objectives(), description="what is maximised and minimised")
    enqueue: tuple[dict[str, Scalar], ...] = Field(
        default=(),
        strict=False,
        description="values that are tried first, in this order, each by the paths of parameters; what one "
        "leaves out the sampler chooses",
    )
    from_: Names = Field(
        default=(),
        alias="from",
        description="sweeps of the same folder whose finished trials are taken over: they are not trained "
        "again, not counted among trials, and teach the sampler",
    )
    limits: Limits = Field(
        default=(),
        description="bounds on metrics of the validation splits that a trial must keep, beside the budget, "
        "such as forgetting <= 1, trained_parameters <= 1e5 or probe/glyphs >= 80",
    )
    parameters: dict[str, Domain] = Field(
        default={},
        description="what is searched: dotted paths of method or training, such as method.lambda",
    )

    @model_validator(mode="after")
    def _sampler_learns(self) -> Self:
        if self.from_ and self.sampler == "grid":
            text = "the grid would train its points all the same; use another sampler, or leave this out"
            refuse(Mistake(("from",), text))
        return self
