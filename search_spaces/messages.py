"""Pydantic's errors in plain words, each with the nearest right name or what is allowed."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from search_spaces.errors import Mistake, Path, remedy, shown
from search_spaces.method import METHODS
from search_spaces.part import fields_of
from search_spaces.search import CHOICES, RANGE

EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}

NAME_RULE = "at most 64 letters, digits, '_' and '-', beginning with a letter or digit"

BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}


def mistakes_of(error: ValidationError, root: type[BaseModel]) -> list[Mistake]:
    """Every mistake that the error names, at its path in the root section."""
    return [Mistake(*_located(details, root)) for details in causes(error)]


def causes(error: ValidationError) -> list[ErrorDetails]:
    """What the error names, but for lists that are short only of the items that are refused by themselves."""
    return [
        details
        for details in error.errors(include_url=False)
        if details["type"] != "too_short" or len(details["input"]) == 0
    ]


def plain(details: ErrorDetails) -> str:
    """What is wrong with a value, without saying where."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        return f"is too large, got {shown(value)}"
    if kind in EXPECTED:
        return f"expects {EXPECTED[kind]}, got {shown(value)}{_quotes_hint(kind, value)}"
    if kind in BOUNDS:
        limit, words = BOUNDS[kind]
        return f"must be {words} {_short(context[limit])}, got {shown(value)}"
    match kind:
        case "literal_error":
            return _unknown_value(value, context["expected"])
        case "finite_number":
            return f"must be a finite number, got {shown(value)}"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"expects {NAME_RULE}, got {shown(value)}"
    return details["msg"]


def _located(details: ErrorDetails, root: type[BaseModel]) -> tuple[Path, str]:
    loc, kind = details["loc"], details["type"]
    path = _without_tags(loc)
    match kind:
        case "extra_forbidden" | "invalid_key":
            keys = list(_fields_at(loc[:-1], root))
            return path, f"unknown key; {remedy(loc[-1], keys, 'the keys here are')}"
        case "missing":
            return path, f"missing: {_fields_at(loc[:-1], root)[str(loc[-1])].description}"
        case "union_tag_not_found":
            return (*path, "name"), f"missing: one of {', '.join(METHODS)}"
        case "union_tag_invalid":
            return (*path, "name"), _unknown_value(details["ctx"]["tag"], details["ctx"]["expected_tags"])
    return path, plain(details)


def _without_tags(loc: Path) -> Path:
    """The path in the file: pydantic names the chosen member of a union too."""
    if loc[:1] == ("method",) and loc[1:2] and loc[1] in METHODS:
        return loc[:1] + loc[2:]
    return tuple(step for step in loc if step not in (RANGE, CHOICES))


def _fields_at(loc: Path, root: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of the section at loc, of every section that may stand there."""
    sections: list[type[BaseModel]] = [root]
    for step in map(str, loc):
        named: list[type[BaseModel]] = [section for section in sections if METHODS.get(step) is section]
        below = [
            part
            for section in sections
            if step in fields_of(section)
            for part in _sections_in(fields_of(section)[step].annotation)
        ]
        sections = named or below or sections
    return {name: field for section in sections for name, field in fields_of(section).items()}


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def _unknown_value(value: object, expected: str) -> str:
    allowed = re.findall(r"'([^']*)'", expected)
    if not isinstance(value, str):
        return f"expects {' or '.join(allowed)}, got {shown(value)}"
    return f"unknown value {shown(value)}; {remedy(value, allowed, 'allowed:')}"


def _short(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)


def _quotes_hint(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return "; put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        return "; write it without quotes"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
