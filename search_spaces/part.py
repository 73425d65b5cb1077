"""What every section of a space has in common."""

import math
from collections.abc import Hashable, Iterable
from typing import Annotated, Any, NoReturn, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from search_spaces.errors import Mistake, shown

LARGEST_SEED = 2**32 - 1

T = TypeVar("T")


class Part(BaseModel):
    """A section of a space: no unknown keys, no silent conversion, immutable, every number finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself, for it cannot be changed: Tune copies what a trial is given several times."""
        return self

    def dump(self) -> dict[str, Any]:
        """The section as plain values under the names of a space file."""
        return self.model_dump(mode="json", by_alias=True)


def fields_of(part: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section under the names of a space file."""
    return {field.alias or name: field for name, field in part.model_fields.items()}


def refuse(*mistakes: Mistake) -> NoReturn:
    """Raise pydantic's ValidationError with the mistakes, each at its path below the section."""
    raise ValidationError.from_exception_data(
        "space",
        [InitErrorDetails(type=mistaken(m.text), loc=m.path, input=None) for m in mistakes],
    )


def mistaken(text: str) -> PydanticCustomError:
    """An error for a validator to raise, whose text reaches the person as it is."""
    return PydanticCustomError("mistake", "{text}", {"text": text})


def unique(items: tuple[T, ...]) -> tuple[T, ...]:
    """The items, none of them twice."""
    refuse_repeats(items, "remove one of the two")
    return items


def refuse_repeats(names: Iterable[Hashable], remedy: str) -> None:
    """Raise ValidationError at every position that repeats an earlier one."""
    seen: set[Hashable] = set()
    repeats: list[Mistake] = []
    for place, name in enumerate(names):
        known = (isinstance(name, bool), name)  # to Python, true is 1
        if known in seen:
            repeats.append(Mistake((place,), f"{shown(name)} is given twice; {remedy}"))
        seen.add(known)
    if repeats:
        refuse(*repeats)


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mistaken(f"expects a number, got {shown(value)}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise mistaken(f"must be a finite number, got {shown(value)}")
    return value


def _scalar(value: object) -> bool | int | float | str | None:
    if isinstance(value, dict | list | tuple):
        raise mistaken(f"expects one value (text, a number, true, false or null), got {shown(value)}")
    if value is None or isinstance(value, bool | str):
        return value
    return _number(value)


Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
"""A finite number, whole or not, kept as it was written."""

Scalar = Annotated[
    bool | int | float | str | None,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
"""One value, kept as it was written."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""A name that is fit for a file, an experiment and a metric."""

_LONGEST_NAME = 64


def longer_name(name: str, suffix: str) -> str:
    """The name with ``-suffix``; what would be too long for a `Name` is cut off before it."""
    return f"{name[: _LONGEST_NAME - len(suffix) - 1]}-{suffix}"


Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""A seed that every random number generator takes."""

UniqueItems = AfterValidator(unique)
