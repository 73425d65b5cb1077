"""Methods that run beside the search."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from search_spaces.errors import Mistake, shown
from search_spaces.method import METHODS, MethodName
from search_spaces.part import Name, Part, Scalar, UniqueItems, mistaken, refuse

MOST_RUNS = 1000
LONGEST_LABEL = 64
# An integer up to here is written in full, a larger one with an exponent.
_LONGEST_WHOLE = 10**6

Values = Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1), UniqueItems]


@dataclass(frozen=True)
class BaselineRun:
    """One run of a baseline: its method with one value for each setting that the baseline varies.

    Attributes:
        label: unique in the space and fit for a folder: ``full``, or ``full-lr-3e-4`` where lr is varied.
        group: the label of the baseline as it is written, which its runs share.
        varied: the values that tell the run from the others of its group, under their dotted paths.
        changes: all settings that differ from the method's defaults, ``varied`` among them.
    """

    label: str
    group: str
    method: str
    varied: dict[str, Any]
    changes: dict[str, Any]


def _without_empty_label(schema: dict[str, Any]) -> None:
    del schema["properties"]["label"]["default"]


class Baseline(Part):
    """A method with its own defaults, or with some settings of method and training changed.

    In a space file a bare method name is enough. The label is the method's name where none is given. A
    baseline with settings under ``each`` stands for several runs, one a combination of their values, since
    methods are to be compared each at a learning rate that suits it.
    """

    model_config = ConfigDict(json_schema_extra=_without_empty_label)

    method: MethodName = Field(description="the method that is run")
    label: Name = Field(default="", description="the name on plots and of files; by default the method's")
    changes: dict[str, Any] = Field(
        default={}, alias="set", description="settings that differ, such as {training.lr: 5.0e-4}"
    )
    each: dict[str, Values] = Field(
        default={},
        description="settings that differ from run to run, such as {training.lr: [5.0e-5, 3.0e-4]}: "
        "one run for each combination",
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"method": data}
        if not isinstance(data, dict | Baseline):
            raise mistaken(f"expects a method's name or a mapping, got {shown(data)}")
        if isinstance(data, dict) and data.get("label") is None and data.get("method") in METHODS:
            return data | {"label": data["method"]}
        return data

    @model_validator(mode="after")
    def _can_be_expanded(self) -> Self:
        both = [path for path in self.each if path in self.changes]
        if both:
            refuse(*(Mistake(("each", path), "is under set too; remove one of the two") for path in both))
        count = math.prod(len(values) for values in self.each.values())
        if count > MOST_RUNS:
            refuse(Mistake(("each",), f"stands for {count} runs, more than {MOST_RUNS}; use fewer values"))
        longest = max((run.label for run in self.runs), key=len)
        if len(longest) > LONGEST_LABEL:
            text = f"a run would be labelled {longest!r}, longer than {LONGEST_LABEL}; give a shorter label"
            refuse(Mistake(("label",), text))
        return self

    @property
    def runs(self) -> tuple[BaselineRun, ...]:
        """One run for each combination of the values under ``each``, the last setting varying fastest."""
        combinations = product(*self.each.values())
        return tuple(self._run(dict(zip(self.each, values, strict=True))) for values in combinations)

    def _run(self, varied: dict[str, Any]) -> BaselineRun:
        parts = [f"{path.rpartition('.')[2]}-{_in_a_name(value)}" for path, value in varied.items()]
        return BaselineRun(
            "-".join([self.label, *parts]), self.label, self.method, varied, {**self.changes, **varied}
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Either a method's name or the whole mapping."""
        return {"anyOf": [{"enum": list(METHODS)}, handler(schema)]}


def _in_a_name(value: object) -> str:
    """A value in letters, digits, '_' and '-'. Numbers stay exact: 3e-4, and 15e-5 for 0.00015."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return _number_in_a_name(value)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", str(value))


def _number_in_a_name(value: int | float) -> str:
    if value == int(value) and abs(value) < _LONGEST_WHOLE:
        return str(int(value))
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    return f"{'-' * sign}{''.join(map(str, digits))}e{exponent}"
